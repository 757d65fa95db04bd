using System.Net.Sockets;

namespace Kuasar.Protocol.Soak;

/// <summary>A connection with its callers; it ends in every way there is, and the next one takes its place.</summary>
internal sealed class Lane(string socket, LaneRules rules, Tally tally, int seed)
{
    // Of a connection, in milliseconds.
    private const int ShortestLife = 200;
    private const int LongestLife = 6000;

    private readonly Random _random = new(seed);
    private TtrpcClient? _client;

    /// <summary>Streams of the connection that is now.</summary>
    internal int ActiveStreams => Volatile.Read(ref _client)?.ActiveStreams ?? 0;

    internal async Task RunAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            TtrpcClient client;
            try
            {
                client = await TtrpcClient.ConnectAsync(socket, cancellationToken: stop);
            }
            catch (SocketException)
            {
                await Task.Delay(50, CancellationToken.None); // the server is just being killed or started
                continue;
            }
            catch (OperationCanceledException)
            {
                return;
            }
            Volatile.Write(ref _client, client);
            tally.CountConnection();
            await LiveAsync(client, stop);
        }
    }

    private async Task LiveAsync(TtrpcClient client, CancellationToken stop)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stop, client.Closed);
        var callers = Enumerable.Range(0, rules.CallersPerLane)
            .Select(_ => new Caller(client, rules, tally, _random.Next()))
            .Select(caller => Task.Run(() => caller.RunAsync(end.Token)))
            .ToArray();
        var abrupt = _random.Next(2) == 0;
        try
        {
            await Task.Delay(_random.Next(ShortestLife, LongestLife), end.Token);
        }
        catch (OperationCanceledException)
        {
            // Asked to stop, or the server has ended the connection.
        }
        if (abrupt)
        {
            await client.DisposeAsync();
        }
        await end.CancelAsync();
        await Task.WhenAll(callers);
        // Every call has told its caller how it ended: nothing of it may be left.
        tally.Leak(client.ActiveStreams);
        await client.DisposeAsync();
    }
}

/// <summary>What may be done to a peer.</summary>
/// <param name="CallersPerLane">Callers of one connection.</param>
/// <param name="Pause">Longest pause of a caller between two calls, in milliseconds.</param>
/// <param name="IsGo">
/// Go's server ends its connection over a response that is too large, and ends itself over data for a stream that it has
/// ended: what could bring that about is left out.
/// </param>
internal sealed record LaneRules(int CallersPerLane, int Pause, bool IsGo);
