using System.Globalization;

namespace Kuasar.Benchmarks.Runner;

/// <summary>What connections that do nothing cost a server: memory, threads, and the throughput of one that does something.</summary>
internal static class IdleConnections
{
    private static readonly Cell s_busy = Cell.Named("unary-64-64");

    // What a server keeps for a while after a call must be gone, or is counted.
    private static readonly TimeSpan s_settle = TimeSpan.FromSeconds(3);

    internal static async Task<int> MeasureAsync(
        IReadOnlyList<Peer> peers, Peer holder, int count, int rounds, TimeSpan window, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateTempSubdirectory("ttrpc-idle");
        var socket = Path.Combine(folder.FullName, "s");
        try
        {
            Console.WriteLine($"Each of {count} connections has had one call. Goals: ≤ 16 KiB each, no thread each, throughput ≥ 0.9.\n");
            Console.WriteLine("| server | Pss, KiB per connection | Rss, KiB per connection | threads before | threads with | ops/s without | ops/s beside | ratio | rounds |");
            Console.WriteLine("|---|--:|--:|--:|--:|--:|--:|--:|---|");
            foreach (var peer in peers.Where(peer => peer.SpeaksTtrpc))
            {
                await MeasureAsync(peer, holder, socket, count, rounds, window, cancellationToken);
            }
            return 0;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // The idle connections are held by our program whatever the server: any ttrpc server answers its bytes.
    private static async Task MeasureAsync(
        Peer peer, Peer holder, string socket, int count, int rounds, TimeSpan window, CancellationToken cancellationToken)
    {
        var before = new List<Footprint>();
        var with = new List<Footprint>();
        var without = new List<double>();
        var beside = new List<double>();
        for (var round = 0; round < rounds; round++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            await using var server = await PeerProcess.ServeAsync(peer, socket);
            // Both on the same server. It is warm then, and memory that it needs anyway is not taken for the connections'.
            without.Add(await ThroughputAsync());
            await Task.Delay(s_settle, cancellationToken);
            before.Add(Footprint.Of(server.Id));
            await using (await PeerProcess.StartAsync(holder, ["idle", socket, $"{count}"]))
            {
                await Task.Delay(s_settle, cancellationToken);
                with.Add(Footprint.Of(server.Id));
                beside.Add(await ThroughputAsync());
            }

            async Task<double> ThroughputAsync() =>
                Run.Parse(round, s_busy, peer, await PeerProcess.CallAsync(peer, socket, server, s_busy, window)).Result.PerSecond;
        }
        double PerConnection(Func<Footprint, int> kibibytes) => Median(with.Zip(before, (one, two) => (double)(kibibytes(one) - kibibytes(two)))) / count;
        double[] ratios = [.. beside.Zip(without, (one, two) => one / two)];
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {peer.Title} | {PerConnection(one => one.Pss):0.0} | {PerConnection(one => one.Rss):0.0} | {Median(before.Select(one => (double)one.Threads)):0} | {Median(with.Select(one => (double)one.Threads)):0} | {Median(without):N0} | {Median(beside):N0} | {Median(ratios):0.00} | {ratios.Min():0.00} … {ratios.Max():0.00} |"));
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
