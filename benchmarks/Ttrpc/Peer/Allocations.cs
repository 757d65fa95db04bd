using System.Globalization;
using System.Text.RegularExpressions;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Benchmarks.Load;
using Kuasar.Protocol;

namespace Kuasar.Benchmarks.Peer;

/// <summary>What one sequential call allocates, client and server in this process with a unix socket between them.</summary>
internal static partial class Allocations
{
    // Samples come every 100 KB or so: of a kind with 32 B per call, some hundred.
    private const int Warm = 50_000, Exact = 100_000, Sampled = 400_000;

    // Of the least that is told of.
    private const double Least = 2;

    private static readonly string[] s_groups = ["messages", "gRPC", "ours", "caller", "tasks", "other"];

    internal static async Task PrintAsync()
    {
        var folder = Directory.CreateTempSubdirectory("ttrpc-bench");
        try
        {
            await PrintAsync($"unix://{folder.FullName}/s");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task PrintAsync(string address)
    {
        await using var source = UnixConnectionSource.Bind(address);
        await using var server = new TtrpcServer();
        Bench.BindService(server.Services, new BenchService());
        _ = server.ServeAsync(source, CancellationToken.None);
        await using var client = await TtrpcClient.ConnectAsync(address);
        var bench = new Bench.BenchClient(client);

        Console.WriteLine($"Both sides together, one call at a time, the process's own count over {Exact:N0} calls. Goal: ≤ 500 B.\n");
        Console.WriteLine("| stub | payload | bytes per call | |");
        Console.WriteLine("|---|--:|--:|---|");
        foreach (var size in new[] { 0, 64 })
        {
            var message = Message.OfSize(size);
            await PrintTotalAsync("async", size, calls => CallAsync(bench, message, calls));
            await PrintTotalAsync("blocking", size, calls => Call(bench, message, calls));
        }
        Console.WriteLine($"\nBy type, 64 B, from the runtime's random samples over {Sampled:N0} calls; types of less than {Least} B are left out.\n");
        var sample = Message.OfSize(64);
        await PrintTypesAsync("async", calls => CallAsync(bench, sample, calls));
        await PrintTypesAsync("blocking", calls => Call(bench, sample, calls));
    }

    private static async Task PrintTotalAsync(string stub, int size, Func<int, Task> run)
    {
        await run(Warm);
        var before = GC.GetTotalAllocatedBytes(precise: true);
        await run(Exact);
        var each = (GC.GetTotalAllocatedBytes(precise: true) - before) / (double)Exact;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {stub} | {size} B | {each:0} | {(each <= 500 ? "met" : "**missed**")} |"));
    }

    private static async Task PrintTypesAsync(string stub, Func<int, Task> run)
    {
        await run(Warm);
        Dictionary<string, double> types;
        using (var samples = new AllocationSamples())
        {
            await run(Sampled);
            types = samples.BytesByType();
        }
        var groups = types
            .Select(type => (Group: GroupOf(type.Key), Type: type.Key, Each: type.Value / Sampled))
            .Where(type => type.Each >= Least)
            .GroupBy(type => type.Group)
            .OrderBy(group => Array.IndexOf(s_groups, group.Key));
        Console.WriteLine($"| {stub} stub | bytes per call | types |");
        Console.WriteLine("|---|--:|---|");
        foreach (var group in groups)
        {
            var names = group.OrderByDescending(type => type.Each).Select(type => string.Create(CultureInfo.InvariantCulture, $"`{Noise().Replace(type.Type, "")}` {type.Each:0}"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {group.Key} | {group.Sum(type => type.Each):0} | {string.Join(", ", names)} |"));
        }
        Console.WriteLine();
    }

    // What a generic is of does not count: Task[BytesValue] is a task. The runtime names a nested type without what it is nested in.
    private static string GroupOf(string type) => type switch
    {
        _ when type.StartsWith("Kuasar.Benchmarks", StringComparison.Ordinal) => "caller",
        _ when type.StartsWith("Kuasar.Protocol", StringComparison.Ordinal) => "ours",
        _ when type.StartsWith("Google.Protobuf", StringComparison.Ordinal) || type == "System.Byte[]" => "messages",
        // A generated client calls through an interceptor, which is all that has a continuation here.
        _ when type.StartsWith("Grpc.", StringComparison.Ordinal) || type.Contains("UnaryCallContinuation`", StringComparison.Ordinal) ||
            type.StartsWith("<>c__DisplayClass", StringComparison.Ordinal) => "gRPC",
        _ when type.StartsWith("System.Threading.Tasks", StringComparison.Ordinal) => "tasks",
        _ => "other",
    };

    [GeneratedRegex(@"[\w.]+\.(?=\w)|`\d")]
    private static partial Regex Noise();

    private static async Task CallAsync(Bench.BenchClient bench, BytesValue message, int calls)
    {
        for (var i = 0; i < calls; i++)
        {
            await bench.EchoAsync(message);
        }
    }

    private static Task Call(Bench.BenchClient bench, BytesValue message, int calls) => Task.Factory.StartNew(
        () =>
        {
            for (var i = 0; i < calls; i++)
            {
                bench.Echo(message);
            }
        },
        default, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
