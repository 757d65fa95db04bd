namespace Kuasar.Sandbox.Hosting;

/// <summary>
/// Gives garbage back to the system once a busy time is over: a resident server is idle most of its life, and its first generation is as
/// large as the processor's cache.
/// </summary>
internal sealed class IdleTrimmer : IDisposable
{
    private const long Busy = 64 << 10, WorthIt = 256 << 10;

    private static readonly TimeSpan Period = TimeSpan.FromSeconds(5);

    private readonly ITimer _timer;
    private long _last, _lastTrim;

    internal IdleTrimmer(TimeProvider time) => _timer = time.CreateTimer(_ => Look(), null, Period, Period);

    private void Look()
    {
        var allocated = GC.GetTotalAllocatedBytes();
        if (allocated - _last < Busy && allocated - _lastTrim > WorthIt)
        {
            // What has a finalizer, sockets and files for the most part, goes in the second.
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            _lastTrim = allocated;
        }
        _last = allocated;
    }

    public void Dispose() => _timer.Dispose();
}
