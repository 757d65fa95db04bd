using System.Diagnostics;
using System.Net.Sockets;
using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Peer;

internal static class RawAsync
{
    internal static async Task Answer(Socket connection)
    {
        using var owned = connection;
        var (request, response) = Raw.Accept(connection);
        while (await ReceiveAsync(connection, request))
        {
            await SendAsync(connection, response);
        }
    }

    internal static async Task CallAsync(string socket, Workload workload)
    {
        var request = EchoFrames.Request(workload.Size);
        var response = EchoFrames.Response(workload.Size);
        using var connection = Raw.Connect(socket, request, response);
        await Measurement.RunAsync(workload, async time =>
        {
            var end = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
            var latencies = new Histogram();
            for (var now = Stopwatch.GetTimestamp(); now < end;)
            {
                await SendAsync(connection, request);
                await ReceiveAsync(connection, response);
                var then = Stopwatch.GetTimestamp();
                latencies.Add(then - now);
                now = then;
            }
            return new Tally(latencies.Count, latencies);
        });
    }

    private static async ValueTask<bool> ReceiveAsync(Socket connection, byte[] buffer)
    {
        for (var have = 0; have < buffer.Length;)
        {
            var count = await connection.ReceiveAsync(buffer.AsMemory(have), SocketFlags.None);
            if (count == 0)
            {
                return false;
            }
            have += count;
        }
        return true;
    }

    // On a stream, SendAsync may take a part only.
    private static async ValueTask SendAsync(Socket connection, byte[] buffer)
    {
        for (var sent = 0; sent < buffer.Length;)
        {
            sent += await connection.SendAsync(buffer.AsMemory(sent), SocketFlags.None);
        }
    }
}
