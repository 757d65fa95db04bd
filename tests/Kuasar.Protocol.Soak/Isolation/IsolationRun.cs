using System.Diagnostics;
using System.Globalization;

namespace Kuasar.Protocol.Soak;

/// <summary>
/// What a bad peer costs the calls on other connections: windows with and without it take turns, so that what else the machine
/// does falls on both. Server, bad peer and the good clients are three processes.
/// </summary>
internal sealed class IsolationRun(int seconds, int rounds)
{
    private const int Clients = 8;
    private static readonly TimeSpan Settle = TimeSpan.FromMilliseconds(300);

    internal async Task<int> RunAsync()
    {
        var folder = Directory.CreateTempSubdirectory("kuasar-isolation-").FullName;
        try
        {
            var socket = Path.Combine(folder, "s");
            using var server = new Child("serve", socket);
            await server.ReadyAsync();
            await using var victims = await Victims.ConnectAsync(socket, Clients);
            Console.WriteLine($"{Clients} clients on {Clients} connections, 64 B; windows of {seconds} s, {rounds} rounds; medians.");
            Console.WriteLine();
            Console.WriteLine("| load | bad peer | calls/s without | with | p50 µs without | with | p99 µs without | with | p99 ratio (least, most) | server rss MiB |");
            Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|");
            foreach (var (load, pause) in new[] { ("busy", TimeSpan.Zero), ("paced, 2 ms", TimeSpan.FromMilliseconds(2)) })
            {
                await victims.MeasureAsync(TimeSpan.FromSeconds(3), pause); // warm
                foreach (var kind in BadPeer.Kinds)
                {
                    Console.WriteLine($"| {load} | {await CompareAsync(victims, kind, socket, pause, server)} |");
                }
            }
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private async Task<string> CompareAsync(Victims victims, string kind, string socket, TimeSpan pause, Child server)
    {
        var (without, with, resident) = (new List<Window>(), new List<Window>(), 0L);
        for (var round = 0; round < rounds; round++)
        {
            // Which comes first alternates.
            for (var half = 0; half < 2; half++)
            {
                if ((half == 0) == (round % 2 == 0))
                {
                    without.Add(await MeasureAsync(victims, pause));
                    continue;
                }
                using (var bad = new Child("bad", kind, socket))
                {
                    await bad.ReadyAsync();
                    await Task.Delay(Settle);
                    with.Add(await MeasureAsync(victims, pause));
                    resident = Math.Max(resident, server.Resident);
                }
                await Task.Delay(Settle);
            }
        }
        var ratios = without.Zip(with, (quiet, bad) => bad.P99 / quiet.P99).Order().ToArray();
        return string.Create(CultureInfo.InvariantCulture,
            $"{kind} | {Median(without, w => w.Rate):F0} | {Median(with, w => w.Rate):F0} | {Median(without, w => w.P50):F0} | {Median(with, w => w.P50):F0} "
            + $"| {Median(without, w => w.P99):F0} | {Median(with, w => w.P99):F0} | {ratios[ratios.Length / 2]:F2} ({ratios[0]:F2}, {ratios[^1]:F2}) | {resident >> 20}");
    }

    private async Task<Window> MeasureAsync(Victims victims, TimeSpan pause)
    {
        var times = await victims.MeasureAsync(TimeSpan.FromSeconds(seconds), pause);
        return new(times.Length / (double)seconds, times[times.Length / 2], times[(int)(times.Length * 0.99)]);
    }

    private static double Median(IEnumerable<Window> windows, Func<Window, double> of)
    {
        var values = windows.Select(of).Order().ToArray();
        return values[values.Length / 2];
    }

    private sealed record Window(double Rate, double P50, double P99);

    /// <summary>This program again, in another part.</summary>
    private sealed class Child : IDisposable
    {
        private readonly Process _process;

        internal Child(params string[] arguments) => _process =
            Process.Start(new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardOutput = true, RedirectStandardInput = true })
            ?? throw new InvalidOperationException("this program does not start again");

        internal long Resident
        {
            get
            {
                _process.Refresh();
                return _process.WorkingSet64;
            }
        }

        internal async Task ReadyAsync()
        {
            if (await _process.StandardOutput.ReadLineAsync() != "ready")
            {
                throw new InvalidOperationException("the other process does not come up");
            }
        }

        public void Dispose()
        {
            _process.Kill();
            _process.WaitForExit();
            _process.StandardOutput.Dispose();
            _process.StandardInput.Dispose();
            _process.Dispose();
        }
    }
}
