using System.Globalization;

namespace Kuasar.Protocol.Soak;

/// <summary>What this process holds, after a full collection.</summary>
/// <param name="Heap">Managed bytes that live.</param>
/// <param name="Resident">Bytes of memory.</param>
/// <param name="Files">Open file descriptors that are no files: sockets, pipes, timers.</param>
/// <param name="Threads">All of them.</param>
/// <param name="PoolThreads">Those of the thread pool, which come and go with the load.</param>
internal sealed record Vitals(long Heap, long Resident, int Files, int Threads, int PoolThreads)
{
    internal static Vitals Take()
    {
        // Twice: what has a finalizer goes in the second, which also gives the free memory back.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        return new(
            GC.GetTotalMemory(false), Field("VmRSS:") * 1024L,
            CountFiles(), (int)Field("Threads:"), ThreadPool.ThreadCount);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"heap {Heap / 1048576.0:F1} MiB, rss {Resident / 1048576.0:F0} MiB, {Files} fds, {Threads} threads ({PoolThreads} pool)");

    // Sockets, pipes and what the kernel makes without a name. The runtime opens its libraries when it needs them.
    private static int CountFiles() => Directory.GetFileSystemEntries("/proc/self/fd")
        .Count(path => new FileInfo(path).LinkTarget is { } target && !target.StartsWith('/'));

    private static long Field(string name) => long.Parse(
        File.ReadLines("/proc/self/status").First(line => line.StartsWith(name, StringComparison.Ordinal))
            .Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
}
