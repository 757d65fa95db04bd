using System.Net.Sockets;

namespace Kuasar.Protocol.Load.Tests;

/// <summary>Thousands of connections that mostly do nothing.</summary>
public sealed class IdleConnectionTests : LoadTest
{
    private const int Count = 2000;

    /// <summary>The goal is 16 KiB; what a connection costs exactly is benchmarks/' business.</summary>
    private const long BytesPerConnection = 32 << 10;

    private const int ExtraThreads = 32;

    [Fact]
    public async Task Idle2000_HaveNoThreadEach_AndLittleMemory_AndAreServedAgain()
    {
        await AssertAnswersAsync(100);
        var before = Vitals.Take();
        var sockets = new List<Socket>();
        try
        {
            for (var i = 0; i < Count; i++)
            {
                sockets.Add(BadPeer.Connect(Address));
                Ask(sockets[i], 1);
            }
            await UntilAsync(() => Server.ActiveConnections == Count && Server.RunningHandlers == 0);
            var idle = Vitals.Take();
            TestContext.Current.TestOutputHelper?.WriteLine($"before: {before}\nidle: {idle}");
            Assert.InRange(idle.Threads, 1, before.Threads + ExtraThreads);
            Assert.InRange((idle.Heap - before.Heap) / Count, 0, BytesPerConnection);
            await AssertAnswersAsync(1000);
            foreach (var socket in sockets)
            {
                Ask(socket, 3);
            }
        }
        finally
        {
            sockets.ForEach(socket => socket.Dispose());
        }
        await UntilAsync(() => Server.ActiveConnections == 0);
        var after = Vitals.Take();
        Assert.InRange(after.Files, 1, before.Files + 2);
        Assert.True(after.Heap < before.Heap + (4 << 20), $"{Show(before.Heap)} before, {Show(after.Heap)} after");
    }

    [Fact]
    public async Task Connections200_AllAtOnce_EachWithCallsInFlight()
    {
        var clients = new List<TtrpcClient>();
        for (var i = 0; i < 200; i++)
        {
            clients.Add(await TtrpcClient.ConnectAsync(Address).AsTask().WaitAsync(Limit));
        }
        await Task.WhenAll(clients.Select(async (client, i) =>
        {
            var peer = new Peer.PeerClient(client);
            var naps = Enumerable.Range(0, 5).Select(_ => peer.NapAsync(Messages.Text("200")).ResponseAsync).ToArray();
            Assert.Equal(i, (await peer.EchoAsync(Messages.Text(Messages.Number(i)))).ToNumber());
            await Task.WhenAll(naps);
        })).WaitAsync(Limit);
        Assert.Equal(200, Server.ActiveConnections);
        foreach (var client in clients)
        {
            Assert.Equal(0, client.ActiveStreams);
            await client.DisposeAsync();
        }
        await UntilAsync(() => Server is { ActiveConnections: 0, ActiveStreams: 0, RunningHandlers: 0 });
    }

    // Blocking, and frame for frame: the client shall cost as little as it can.
    private static void Ask(Socket socket, uint id)
    {
        socket.Send(BadPeer.Request(id, "Echo", "hello"));
        Span<byte> answer = stackalloc byte[64];
        var count = 0;
        while (count < 10 || count < 10 + answer[3])
        {
            var read = socket.Receive(answer[count..]);
            Assert.True(read > 0, "the server has closed");
            count += read;
        }
    }
}
