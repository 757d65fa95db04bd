namespace Kuasar.Vmm.Vsock;

/// <summary>
/// Keeps dials and pauses apart: a guest that stands still answers none, and some hypervisors' vsock never recovers from one. While the gate is
/// shut dials wait; shutting it waits for those under way.
/// </summary>
internal sealed class DialGate
{
    private readonly Lock _lock = new();
    private readonly List<TaskCompletionSource> _waiting = [];
    private bool _isShut;
    private int _dials;
    private TaskCompletionSource? _idle; // completes when the last dial ends

    /// <summary>Waits while the gate is shut. Dispose the pass when the dial has ended, either way.</summary>
    internal async ValueTask<Pass> EnterAsync(CancellationToken cancellationToken)
    {
        TaskCompletionSource opened;
        lock (_lock)
        {
            if (!_isShut)
            {
                _dials++;
                return new Pass(this);
            }
            opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting.Add(opened);
        }
        using var giveUp = cancellationToken.UnsafeRegister(_ => GiveUp(opened, cancellationToken), null);
        await opened.Task.ConfigureAwait(false);
        return new Pass(this);
    }

    /// <summary>No dial is under way when it completes, and none begins before <see cref="Open"/>. Cancelled: the gate is open again.</summary>
    internal async Task ShutAsync(CancellationToken cancellationToken)
    {
        Task idle;
        lock (_lock)
        {
            _isShut = true;
            if (_dials == 0)
            {
                return;
            }
            idle = (_idle ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        }
        try
        {
            await idle.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            Open();
            throw;
        }
    }

    /// <summary>Lets dials through; idempotent.</summary>
    /// <remarks>Those that wait are under way at once: the next pause waits for them, or one pause after the other would keep them out.</remarks>
    internal void Open()
    {
        lock (_lock)
        {
            _isShut = false;
            _dials += _waiting.Count;
            _waiting.ForEach(static opened => opened.SetResult());
            _waiting.Clear();
        }
    }

    private void GiveUp(TaskCompletionSource opened, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_waiting.Remove(opened))
            {
                opened.SetCanceled(cancellationToken);
            }
        }
    }

    private void Leave()
    {
        lock (_lock)
        {
            if (--_dials == 0)
            {
                _idle?.TrySetResult();
                _idle = null;
            }
        }
    }

    /// <summary>One dial's.</summary>
    internal readonly struct Pass(DialGate gate) : IDisposable
    {
        public void Dispose() => gate.Leave();
    }
}
