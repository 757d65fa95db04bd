using System.Globalization;

namespace Kuasar.Benchmarks.Runner;

/// <summary>What connections that do nothing cost a server: memory, threads, and the throughput of one that does something.</summary>
internal static class IdleConnections
{
    private static readonly Cell s_busy = Cell.Named("unary-64-64");

    // What a server keeps for a while after a call must be gone, or is counted.
    private static readonly TimeSpan s_settle = TimeSpan.FromSeconds(3);

    /// <param name="holder">Whose program holds the idle connections, whatever the server: any ttrpc server answers its bytes.</param>
    internal static async Task<int> MeasureAsync(
        IReadOnlyList<Peer> peers, Peer holder, int count, int rounds, TimeSpan window, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateTempSubdirectory("ttrpc-idle");
        var socket = Path.Combine(folder.FullName, "s");
        try
        {
            Console.WriteLine($"Each of {count} connections has had one call. Goals: ≤ 16 KiB each, no thread each, throughput ≥ 0.9.\n");
            Console.WriteLine("| server | Pss, KiB per connection | Rss, KiB per connection | threads with 10 | with all | calls/s alone | beside | ratio | rounds |");
            Console.WriteLine("|---|--:|--:|--:|--:|--:|--:|--:|---|");
            foreach (var peer in peers.Where(peer => peer.Name is Peer.Ours or Peer.Go))
            {
                var costs = new List<(Footprint Few, Footprint All)>();
                var busy = new List<(double Alone, double Beside)>();
                for (var round = 0; round < rounds; round++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    costs.Add(await CostAsync(peer, holder, socket, count));
                    busy.Add(await ThroughputAsync(peer, holder, socket, count, window, aloneFirst: round % 2 == 0));
                }
                WriteRow(peer, count, costs, busy);
            }
            return 0;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // Of a server that has done nothing else: after a lot of calls its heap has room that would hide the connections.
    private static async Task<(Footprint Few, Footprint All)> CostAsync(Peer peer, Peer holder, string socket, int count)
    {
        await using var server = await PeerProcess.ServeAsync(peer, socket);
        await using var few = await PeerProcess.StartAsync(holder, ["idle", socket, "10"]);
        await Task.Delay(s_settle);
        var before = Footprint.Of(server.Id);
        await using var all = await PeerProcess.StartAsync(holder, ["idle", socket, $"{count}"]);
        await Task.Delay(s_settle);
        return (before, Footprint.Of(server.Id));
    }

    private static async Task<(double Alone, double Beside)> ThroughputAsync(
        Peer peer, Peer holder, string socket, int count, TimeSpan window, bool aloneFirst)
    {
        await using var server = await PeerProcess.ServeAsync(peer, socket);
        var alone = aloneFirst ? await CallAsync() : 0;
        double beside;
        await using (await PeerProcess.StartAsync(holder, ["idle", socket, $"{count}"]))
        {
            await Task.Delay(s_settle);
            beside = await CallAsync();
        }
        if (!aloneFirst)
        {
            await Task.Delay(s_settle);
            alone = await CallAsync();
        }
        return (alone, beside);

        async Task<double> CallAsync() =>
            Run.Parse(0, s_busy, peer, await PeerProcess.CallAsync(peer, socket, server, s_busy, window)).Result.PerSecond;
    }

    private static void WriteRow(Peer peer, int count, List<(Footprint Few, Footprint All)> costs, List<(double Alone, double Beside)> busy)
    {
        double PerConnection(Func<Footprint, int> kibibytes) => Median(costs.Select(cost => (double)(kibibytes(cost.All) - kibibytes(cost.Few)))) / count;
        double[] ratios = [.. busy.Select(one => one.Beside / one.Alone)];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {peer.Title} | {PerConnection(one => one.Pss):0.0} | {PerConnection(one => one.Rss):0.0} | {Median(costs.Select(one => (double)one.Few.Threads)):0} | {Median(costs.Select(one => (double)one.All.Threads)):0} | {Median(busy.Select(one => one.Alone)):N0} | {Median(busy.Select(one => one.Beside)):N0} | {Median(ratios):0.00} | {ratios.Min():0.00} … {ratios.Max():0.00} |"));
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Memory in KiB.</summary>
    private sealed record Footprint(int Pss, int Rss, int Threads)
    {
        internal static Footprint Of(int process) => new(
            Field($"/proc/{process}/smaps_rollup", "Pss:"), Field($"/proc/{process}/smaps_rollup", "Rss:"), Field($"/proc/{process}/status", "Threads:"));

        private static int Field(string file, string name) => int.Parse(
            File.ReadLines(file).First(line => line.StartsWith(name, StringComparison.Ordinal)).Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1],
            CultureInfo.InvariantCulture);
    }
}
