using System.Diagnostics;

namespace Kuasar.Protocol.Soak;

/// <summary>Good clients, a connection each, that measure how long their calls take.</summary>
internal sealed class Victims : IAsyncDisposable
{
    private readonly (TtrpcClient Client, Peer.PeerClient Peer)[] _clients;

    private Victims(IEnumerable<TtrpcClient> clients) =>
        _clients = [.. clients.Select(client => (client, new Peer.PeerClient(client)))];

    internal static async Task<Victims> ConnectAsync(string address, int count)
    {
        var clients = new List<TtrpcClient>();
        for (var i = 0; i < count; i++)
        {
            clients.Add(await TtrpcClient.ConnectAsync(address));
        }
        return new Victims(clients);
    }

    /// <summary>Calls for so long, and gives the times in microseconds, in order.</summary>
    /// <param name="duration">Of the window.</param>
    /// <param name="pause">Between two calls of one client; zero is none.</param>
    internal async Task<double[]> MeasureAsync(TimeSpan duration, TimeSpan pause)
    {
        var end = Stopwatch.GetTimestamp() + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        var all = await Task.WhenAll(_clients.Select(client => Task.Run(() => MeasureAsync(client.Peer, end, pause))));
        var times = all.SelectMany(times => times).ToArray();
        Array.Sort(times);
        return times;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var (client, _) in _clients)
        {
            await client.DisposeAsync();
        }
    }

    private static async Task<List<double>> MeasureAsync(Peer.PeerClient peer, long end, TimeSpan pause)
    {
        var message = Messages.Blob(64);
        var times = new List<double>();
        while (Stopwatch.GetTimestamp() < end)
        {
            var start = Stopwatch.GetTimestamp();
            await peer.EchoAsync(message);
            times.Add(Stopwatch.GetElapsedTime(start).TotalMicroseconds);
            if (pause > TimeSpan.Zero)
            {
                await Task.Delay(pause);
            }
        }
        return times;
    }
}
