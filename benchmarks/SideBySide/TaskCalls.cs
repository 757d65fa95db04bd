using System.Diagnostics;
using System.Globalization;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.TaskV3;
using SystemTask = System.Threading.Tasks.Task;
using TaskClient = Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient;

namespace SideBySide;

/// <summary>What a call of the Task service takes that the sandboxer answers from memory, one at a time: what is between is what differs.</summary>
internal static class TaskCalls
{
    private const int Turn = 500;

    /// <summary>Connect: it is answered for any id.</summary>
    internal static async Task<int> TimeAsync(string[] runDirectories, int turns)
    {
        var clients = new List<(string Name, TaskClient Client, List<double> Times)>();
        foreach (var folder in runDirectories)
        {
            var control = await TtrpcClient.ConnectAsync(Path.Combine(folder, "control.sock"));
            var resolved = await new Control.ControlClient(control).ResolveAsync(new ResolveRequest
            {
                Containerd = new ContainerdInstance { GrpcAddress = "/run/none.sock", TtrpcAddress = "/run/none.sock.ttrpc", Version = "2.1.9" },
                Namespace = "bench",
                Id = "one",
            });
            var client = new TaskClient(await TtrpcClient.ConnectAsync(resolved.Address["unix://".Length..]));
            clients.Add((folder, client, []));
        }
        for (var turn = -1; turn < turns; turn++)
        {
            foreach (var (_, client, times) in clients)
            {
                await TurnAsync(client, turn < 0 ? [] : times);
            }
        }
        foreach (var (name, _, times) in clients)
        {
            times.Sort();
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{name}: median {times[times.Count / 2]:F1} µs, p99 {times[times.Count * 99 / 100]:F1} µs of {times.Count} calls"));
        }
        return 0;
    }

    private static async SystemTask TurnAsync(TaskClient client, List<double> times)
    {
        for (var i = 0; i < Turn; i++)
        {
            var from = Stopwatch.GetTimestamp();
            await client.ConnectAsync(new ConnectRequest { Id = "one" });
            times.Add(Stopwatch.GetElapsedTime(from).TotalMicroseconds);
        }
    }
}
