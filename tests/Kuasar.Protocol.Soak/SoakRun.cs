using System.Diagnostics;
using System.Globalization;

namespace Kuasar.Protocol.Soak;

/// <summary>
/// Our client against our server, our client against the Go server, the Go client against our server, all at once; whatever
/// can end a call or a connection does. Says how it went, and ends with a verdict.
/// </summary>
internal sealed class SoakRun(SoakOptions options) : IDisposable
{
    private const int CallersPerLane = 8;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Random _random = new(options.Seed);
    private readonly Warnings _warnings = new();
    private readonly Verdict _verdict = new();
    private readonly List<Vitals> _samples = [];
    private int _unobserved;

    public void Dispose() => _warnings.Dispose();

    internal async Task<int> RunAsync()
    {
        TaskScheduler.UnobservedTaskException += (_, error) =>
        {
            Console.WriteLine($"unobserved: {error.Exception}");
            Interlocked.Increment(ref _unobserved);
        };
        var folder = Directory.CreateTempSubdirectory("kuasar-soak-").FullName;
        try
        {
            // What a process opens once for sockets, timers and processes is there before it counts.
            await RunAsync(folder, TimeSpan.FromSeconds(Math.Min(3, options.Seconds)), report: false);
            var before = Vitals.Take();
            Console.WriteLine($"before: {before}");
            await RunAsync(folder, TimeSpan.FromSeconds(options.Seconds), report: true);
            var after = await SettleAsync(before);
            Console.WriteLine($"after: {after}");
            _verdict.JudgeMemory(_samples);
            _verdict.JudgeRest(before, after);
            _verdict.Judge(_unobserved == 0, $"unobserved exceptions: {_unobserved}");
            _verdict.Judge(_warnings.Errors == 0, $"errors logged: {_warnings.Errors} {_warnings.First}");
            Console.WriteLine(_verdict.ExitCode == 0 ? "soak: good" : "soak: BAD");
            return _verdict.ExitCode;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private async Task RunAsync(string folder, TimeSpan duration, bool report)
    {
        var (ourSocket, goSocket) = (Path.Combine(folder, "ours"), Path.Combine(folder, "go"));
        await using var server = new OurServer(ourSocket, _warnings);
        using var stop = new CancellationTokenSource();
        var legs = new List<Leg> { new("C# to C#", ourSocket, new(CallersPerLane, options.Pause, IsGo: false), options, _random.Next()) };
        GoProcess? goServer = null, goClient = null;
        if (options.GoPeer is { } peer)
        {
            goServer = await GoProcess.ServeAsync(peer, goSocket);
            goClient = GoProcess.Call(peer, ourSocket, (int)duration.TotalSeconds, options.Callers, options.Pause);
            legs.Add(new("C# to Go", goSocket, new(CallersPerLane, options.Pause, IsGo: true), options, _random.Next()));
        }
        var running = legs.Select(leg => leg.RunAsync(stop.Token)).ToArray();
        var watch = Stopwatch.StartNew();
        var (interval, next, cut, kill) = (TimeSpan.FromSeconds(Math.Min(10, options.Seconds / 40.0)), TimeSpan.Zero, 0, 1);
        while (watch.Elapsed < duration)
        {
            await Task.Delay(100);
            if (cut++ % 5 == 0)
            {
                server.Cut(_random);
            }
            // Now and then a server goes without a word.
            if (goServer is not null && kill++ % 300 == 0)
            {
                goServer.Dispose();
                goServer = await GoProcess.ServeAsync(options.GoPeer!, goSocket);
            }
            if (goServer is { HasExited: true })
            {
                _verdict.Judge(false, "the Go server has ended by itself");
                break;
            }
            if (report && watch.Elapsed >= next + interval)
            {
                next += interval;
                Report(watch.Elapsed, server, legs);
            }
        }
        await stop.CancelAsync();
        await Task.WhenAll(running).WaitAsync(Patience);
        var calls = goClient is null ? "" : await goClient.EndAsync(Patience);
        var goCode = goClient?.ExitCode ?? 0;
        goServer?.Dispose();
        goClient?.Dispose();
        if (report)
        {
            Judge(legs, calls, goCode);
        }
        await JudgeServerAsync(server, report);
    }

    private void Report(TimeSpan elapsed, OurServer server, List<Leg> legs)
    {
        var vitals = Vitals.Take();
        _samples.Add(vitals);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{elapsed.TotalSeconds,5:F0} s  {vitals}, client streams {legs.Sum(leg => leg.ActiveStreams)}, server streams "
            + $"{server.Server.ActiveStreams}, handlers {server.Server.RunningHandlers}, connections {server.Server.ActiveConnections}"));
        foreach (var leg in legs)
        {
            Console.WriteLine($"         {leg.Tally}");
        }
    }

    private void Judge(List<Leg> legs, string goCalls, int goCode)
    {
        foreach (var tally in legs.Select(leg => leg.Tally))
        {
            _verdict.Judge(tally is { Mistakes: 0, Leaked: 0, Calls: > 0 }, tally.ToString());
            foreach (var mistake in tally.FirstMistakes)
            {
                Console.WriteLine($"      {mistake}");
            }
        }
        if (options.GoPeer is not null)
        {
            _verdict.Judge(goCode == 0, $"Go to C#: {goCalls}");
        }
    }

    // All clients have gone: so must what they have left at the server.
    private async Task JudgeServerAsync(OurServer server, bool report)
    {
        var watch = Stopwatch.StartNew();
        while (server.Server is not { ActiveConnections: 0, ActiveStreams: 0, RunningHandlers: 0 } && watch.Elapsed < Patience)
        {
            await Task.Delay(20);
        }
        if (report)
        {
            var left = (server.Server.ActiveConnections, server.Server.ActiveStreams, server.Server.RunningHandlers);
            _verdict.Judge(left == (0, 0, 0), $"left at the server: {left.Item1} connections, {left.Item2} streams, {left.Item3} handlers");
        }
    }

    // Sockets close, and threads end, a little after those who held them.
    private static async Task<Vitals> SettleAsync(Vitals before)
    {
        var after = Vitals.Take();
        for (var i = 0; i < 50 && after.Files > before.Files; i++)
        {
            await Task.Delay(100);
            after = Vitals.Take();
        }
        return after;
    }

    /// <summary>All callers of one client and one server.</summary>
    private sealed class Leg
    {
        private readonly Lane[] _lanes;

        internal Leg(string name, string socket, LaneRules rules, SoakOptions options, int seed)
        {
            Tally = new Tally(name);
            var count = Math.Max(1, options.Callers / rules.CallersPerLane);
            _lanes = [.. Enumerable.Range(0, count).Select(i => new Lane(socket, rules, Tally, seed + i))];
        }

        internal Tally Tally { get; }

        internal int ActiveStreams => _lanes.Sum(lane => lane.ActiveStreams);

        internal Task RunAsync(CancellationToken stop) => Task.WhenAll(_lanes.Select(lane => lane.RunAsync(stop)));
    }
}
