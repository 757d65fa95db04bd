using Kuasar.Benchmarks.Load;
using Kuasar.Protocol;

namespace Kuasar.Benchmarks.Peer;

internal static class Ours
{
    internal static async Task ServeAsync(string socket)
    {
        await using var source = UnixConnectionSource.Bind("unix://" + socket);
        await using var server = new TtrpcServer();
        Bench.BindService(server.Services, new BenchService());
        _ = server.ServeAsync(source, CancellationToken.None);
        await Ready.UntilStdinEndsAsync();
    }

    internal static async Task CallAsync(string socket, Workload workload)
    {
        await using var client = await TtrpcClient.ConnectAsync("unix://" + socket);
        await StubTraffic.RunAsync(client, workload);
    }
}
