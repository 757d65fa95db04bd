using System.Diagnostics;
using System.Net.Sockets;
using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Peer;

internal static class RawBlocking
{
    internal static Task Answer(Socket connection) => Task.Factory.StartNew(
        () =>
        {
            using var owned = connection;
            var (request, response) = Raw.Accept(connection);
            while (Raw.Receive(connection, request))
            {
                connection.Send(response);
            }
        },
        default, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    internal static async Task CallAsync(string socket, Workload workload)
    {
        var request = EchoFrames.Request(workload.Size);
        var response = EchoFrames.Response(workload.Size);
        using var connection = Raw.Connect(socket, request, response);
        await Measurement.RunAsync(workload, time => Task.Factory.StartNew(
            () =>
            {
                var end = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
                var latencies = new Histogram();
                for (var now = Stopwatch.GetTimestamp(); now < end;)
                {
                    connection.Send(request);
                    Raw.Receive(connection, response);
                    var then = Stopwatch.GetTimestamp();
                    latencies.Add(then - now);
                    now = then;
                }
                return new Tally(latencies.Count, latencies);
            },
            default, TaskCreationOptions.LongRunning, TaskScheduler.Default));
    }
}
