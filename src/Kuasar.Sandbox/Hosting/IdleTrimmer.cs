namespace Kuasar.Sandbox.Hosting;

/// <summary>
/// Gives memory back to the system once a busy time is over, as a resident server is idle most of its life: garbage, since the first
/// generation is as large as the processor's cache, and the pages of files (<see cref="FilePages"/>).
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
            // Found before, as finding makes garbage; given back after, as collecting uses them.
            var pages = FilePages.FindUnchanged();
            // What has a finalizer, sockets and files for the most part, goes in the second.
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            FilePages.Forget(pages);
            _lastTrim = allocated = GC.GetTotalAllocatedBytes();
        }
        _last = allocated;
    }

    public void Dispose() => _timer.Dispose();
}
