using System.Globalization;

namespace Kuasar.Protocol.Soak;

/// <summary>Says what was wrong, and whether anything was.</summary>
internal sealed class Verdict
{
    // A run that is short has few samples, and the collector its own mind.
    private const double Growth = 1.15;
    private const long HeapSlack = 4 << 20;
    private const long ResidentSlack = 24 << 20;

    /// <summary>Timers, the finalizer, tiered compilation and the pool's gate come when first needed.</summary>
    private const int ThreadSlack = 4;

    /// <summary>
    /// What the runtime opens the first time a child of ours dies, say: two, or three when the output is a pipe. A leak here would
    /// be hundreds.
    /// </summary>
    private const int FileSlack = 4;

    private bool _failed;

    internal int ExitCode => _failed ? 1 : 0;

    internal void Judge(bool good, string what)
    {
        Console.WriteLine($"{(good ? "good" : "BAD ")}  {what}");
        _failed |= !good;
    }

    /// <summary>The last quarter must not hold more than the second; the first is warming up.</summary>
    internal void JudgeMemory(IReadOnlyList<Vitals> samples)
    {
        var quarter = Math.Max(1, samples.Count / 4);
        Flat("managed heap", HeapSlack, sample => sample.Heap);
        Flat("resident memory", ResidentSlack, sample => sample.Resident);

        void Flat(string what, long slack, Func<Vitals, long> of)
        {
            var (early, late) = (Median(samples.Skip(quarter).Take(quarter), of), Median(samples.TakeLast(quarter), of));
            Judge(late <= (long)(early * Growth) + slack, string.Create(CultureInfo.InvariantCulture,
                $"{what}: median {early / 1048576.0:F1} MiB in the second quarter, {late / 1048576.0:F1} MiB in the last"));
        }
    }

    internal void JudgeRest(Vitals before, Vitals after)
    {
        Judge(after.Files <= before.Files + FileSlack, $"file descriptors: {before.Files} before, {after.Files} after");
        var (mine, then) = (before.Threads - before.PoolThreads, after.Threads - after.PoolThreads);
        Judge(then <= mine + ThreadSlack, $"threads that are not the pool's: {mine} before, {then} after");
    }

    private static long Median(IEnumerable<Vitals> samples, Func<Vitals, long> of)
    {
        var values = samples.Select(of).Order().ToArray();
        return values[values.Length / 2];
    }
}
