using Kuasar.Protocol.Interop.Tests.Protos;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>An NRI plugin's end against NRI's own multiplexer in Go: both serve and both call, over one socket.</summary>
public sealed class MultiplexerTests(GoToolchain go) : InteropTest(go)
{
    private static readonly string[] Cases =
        ["unary", "empty", "codes", "metadata", "boundary", "concurrent", "down", "up", "both", "streams", "stream-boundary", "stream-errors"];

    private readonly OurPeer _ours = new();

    [Fact]
    public async Task BothDirections_AtOnce_EveryKindAndSize()
    {
        using var runtime = new Program(GoToolchain.Program, ["nri", SocketPath, .. Cases]);
        await runtime.Spoken.WaitAsync(Limit);
        var socket = await Transport.UnixSocket.ConnectAsync(new System.Net.Sockets.UnixDomainSocketEndPoint(SocketPath), default);
        await using var multiplexer = new Multiplexer(Connection.FromSocket(socket));
        await using var server = new TtrpcServer();
        Peer.BindService(server.Services, _ours);
        var serving = server.ServeAsync(multiplexer.Open(Multiplexer.NriPluginService), default);
        await using var client = new TtrpcClient(multiplexer.Open(Multiplexer.NriRuntimeService));
        var peer = new Peer.PeerClient(client);
        multiplexer.Start();

        // Ours call while theirs do. Sizes about the 4096 bytes that Go reads at a time, where its multiplexer is particular.
        var sizes = Enumerable.Range(4060, 80).Concat([0, 1, 8150, 8192, 65_536, 300_000, 1 << 20, Messages.Limit - 100]).ToArray();
        for (var round = 0; round < 3; round++)
        {
            await Task.WhenAll(sizes.Select(size => EchoAsync(peer, size))).WaitAsync(Limit);
            foreach (var size in sizes)
            {
                await EchoAsync(peer, size).WaitAsync(Limit);
            }
            await Task.WhenAll(Enumerable.Range(0, 512).Select(i => EchoAsync(peer, i))).WaitAsync(Limit);
            await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => BothAsync(peer))).WaitAsync(Limit);
        }
        var expected = $"ready\n{string.Concat(Cases.Select(name => $"ok {name}\n"))}";
        await UntilAsync(() => Task.FromResult(runtime.Output == expected || runtime.HasExited));
        Assert.Equal(expected, runtime.Output);
        Assert.Equal(0, client.ActiveStreams);

        // The plugin goes: the runtime sees the end of the socket.
        await multiplexer.DisposeAsync();
        await serving.WaitAsync(Limit);
        var code = await runtime.EndAsync(Limit);
        Assert.True(code == 0, $"exit code {code}:\n{runtime.Output}");
    }

    private static async Task EchoAsync(Peer.PeerClient peer, int size)
    {
        var message = Messages.Blob(size);
        Assert.Equal(message, await peer.EchoAsync(message));
    }

    private static async Task BothAsync(Peer.PeerClient peer)
    {
        using var call = peer.Both();
        for (var i = 0; i < 50; i++)
        {
            var message = Messages.Blob(i * 200);
            await call.RequestStream.WriteAsync(message);
            Assert.True(await call.ResponseStream.MoveNext(default));
            Assert.Equal(message, call.ResponseStream.Current);
        }
        await call.RequestStream.CompleteAsync();
        Assert.False(await call.ResponseStream.MoveNext(default));
    }
}
