namespace Kuasar.Protocol.Transport;

/// <summary>Whether a stream still may send.</summary>
internal interface IStreamState
{
    bool IsEnded { get; }
}

/// <summary>Calls back when one send takes longer than <paramref name="limit"/>: the peer has stopped reading.</summary>
/// <remarks>The timer is made by the first send that waits at all, so that idle connections have none.</remarks>
internal sealed class StallGuard(TimeSpan limit, TimeProvider time, Action onStalled) : IDisposable
{
    private readonly Lock _lock = new();
    private ITimer? _timer;
    private bool _disposed;

    internal void Start() => Set(limit);

    internal void Stop() => Set(Timeout.InfiniteTimeSpan);

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            _timer?.Dispose();
        }
    }

    private void Set(TimeSpan due)
    {
        lock (_lock)
        {
            if (_disposed || limit == Timeout.InfiniteTimeSpan)
            {
                return;
            }
            _timer ??= time.CreateTimer(static action => ((Action)action!)(), onStalled, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _timer.Change(due, Timeout.InfiniteTimeSpan);
        }
    }
}
