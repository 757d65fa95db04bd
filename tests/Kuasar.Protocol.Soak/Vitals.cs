using System.Globalization;

namespace Kuasar.Protocol.Soak;

/// <summary>What this process holds, after a full collection.</summary>
/// <param name="Heap">Managed bytes that live.</param>
/// <param name="Resident">Bytes of memory.</param>
/// <param name="Files">Open file descriptors.</param>
/// <param name="Threads">All of them.</param>
/// <param name="PoolThreads">Those of the thread pool, which come and go with the load.</param>
internal sealed record Vitals(long Heap, long Resident, int Files, int Threads, int PoolThreads)
{
    internal static Vitals Take()
    {
        // Twice: what has a finalizer goes in the second.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        return new(
            GC.GetTotalMemory(false), Field("VmRSS:") * 1024L,
            Directory.GetFileSystemEntries("/proc/self/fd").Length, (int)Field("Threads:"), ThreadPool.ThreadCount);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"heap {Heap / 1048576.0:F1} MiB, rss {Resident / 1048576.0:F0} MiB, {Files} fds, {Threads} threads ({PoolThreads} pool)");

    /// <summary>What the open file descriptors are, and how many of each.</summary>
    internal static string DescribeFiles() => string.Join(", ", Directory.GetFileSystemEntries("/proc/self/fd")
        .Select(path => new FileInfo(path).LinkTarget?.Split(':')[0] ?? "gone")
        .GroupBy(target => target).OrderByDescending(group => group.Count())
        .Select(group => string.Create(CultureInfo.InvariantCulture, $"{group.Count()} {group.Key}")));

    private static long Field(string name) => long.Parse(
        File.ReadLines("/proc/self/status").First(line => line.StartsWith(name, StringComparison.Ordinal))
            .Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
}
