using Kuasar.Sandbox.Processes;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// What the client of an output takes. Without a word from it, whatever is sent. Its first grant is its window: so many bytes may be under way;
/// each further one says that it has done with as many. Thread-safe.
/// </summary>
/// <param name="isCounted">The client counts all that it gets: it is sent nothing before its first grant.</param>
internal sealed class OutputWindow(bool isCounted)
{
    private readonly Lock _lock = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _sent, _window, _acknowledged;

    /// <summary>Sent before the first grant, which the client may count or not.</summary>
    private long? _before;

    internal void Grant(int bytes)
    {
        lock (_lock)
        {
            if (_before is null)
            {
                (_before, _window) = (_sent, Math.Max(0, bytes));
            }
            else
            {
                _acknowledged += Math.Max(0, bytes);
            }
            _changed.SetResult();
            _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    internal void Send(int bytes)
    {
        lock (_lock)
        {
            _sent += bytes;
        }
    }

    /// <summary>How much of what was sent is the client's for good.</summary>
    internal long Taken
    {
        get
        {
            lock (_lock)
            {
                return _before is { } before ? Math.Min(_sent, Math.Max(before, _acknowledged)) : _sent;
            }
        }
    }

    /// <summary>Completes with how many bytes the client takes now, from one to <paramref name="most"/>.</summary>
    internal async ValueTask<int> RoomAsync(int most, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                var room = _before is null ? isCounted ? 0 : most : Math.Min(_window + _acknowledged - _sent, most);
                if (room > 0)
                {
                    return (int)room;
                }
                changed = _changed.Task;
            }
            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Waits until the client has taken all, at most so long.</summary>
    internal async Task AllTakenAsync(TimeSpan limit, TimeProvider time, CancellationToken cancellationToken)
    {
        var begin = time.GetTimestamp();
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                changed = _changed.Task;
                if (Taken == _sent)
                {
                    return;
                }
            }
            var left = limit - time.GetElapsedTime(begin);
            if (left <= TimeSpan.Zero || !await changed.WaitAsync(cancellationToken).EndsWithinAsync(left, time).ConfigureAwait(false))
            {
                return;
            }
            cancellationToken.ThrowIfCancellationRequested();
        }
    }
}
