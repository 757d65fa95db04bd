using System.Diagnostics;
using System.Globalization;

namespace Kuasar.Benchmarks.Load;

/// <summary>Some time of traffic.</summary>
/// <param name="Operations">Calls or messages.</param>
/// <param name="Latencies">Of the calls; empty where there is no such thing.</param>
public sealed record Tally(long Operations, Histogram Latencies);

public static class Measurement
{
    // USER_HZ, the same on every Linux that .NET runs on.
    private const double TicksPerSecond = 100;

    // On a busy machine one is often taken from the processor for longer than a call takes. The rate is then that of most of the
    // slices, or of the best, and not the average of running and waiting.
    private const int Slices = 5;

    /// <summary>Lets the traffic run to warm up, and again, in slices, to be measured. Prints one line of JSON.</summary>
    /// <param name="allocatedByServer">Bytes so far, or null where the server does not say.</param>
    public static async Task RunAsync(Workload workload, Func<TimeSpan, Task<Tally>> traffic, Func<Task<long>>? allocatedByServer = null)
    {
        await traffic(workload.Warm).ConfigureAwait(false);
        var server = allocatedByServer is null ? 0 : await allocatedByServer().ConfigureAwait(false);
        var allocated = GC.GetTotalAllocatedBytes(precise: true);
        var serverTime = ProcessorTimeOf(workload.Server);
        var time = Environment.CpuUsage.TotalTime;
        var all = new Tally(0, new());
        var rates = new double[Slices];

        for (var i = 0; i < Slices; i++)
        {
            var started = Stopwatch.GetTimestamp();
            var slice = await traffic(workload.Window / Slices).ConfigureAwait(false);
            rates[i] = slice.Operations / Stopwatch.GetElapsedTime(started).TotalSeconds;
            all.Latencies.Add(slice.Latencies);
            all = all with { Operations = all.Operations + slice.Operations };
        }

        time = Environment.CpuUsage.TotalTime - time;
        serverTime = ProcessorTimeOf(workload.Server) - serverTime;
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;
        server = allocatedByServer is null ? 0 : await allocatedByServer().ConfigureAwait(false) - server;
        Array.Sort(rates);
        var operations = (double)Math.Max(all.Operations, 1);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $$"""
            {"operations":{{all.Operations}},"perSecond":{{rates[Slices / 2]:F1}},"best":{{rates[^1]:F1}},"p50":{{all.Latencies.Quantile(0.5):F2}},"p99":{{all.Latencies.Quantile(0.99):F2}},"clientCpu":{{time.TotalMicroseconds / operations:F3}},"serverCpu":{{serverTime * 1e6 / operations:F3}},"clientBytes":{{allocated / operations:F1}},"serverBytes":{{server / operations:F1}}}
            """));
    }

    // Seconds, user and system. The name of the program, in brackets, may hold anything.
    private static double ProcessorTimeOf(int process)
    {
        var stat = File.ReadAllText($"/proc/{process}/stat");
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }
}
