using Kuasar.Protocol.Interop.Tests.Protos;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>A Go server of this test's own, and our client on it.</summary>
public abstract class GoServerTest(GoToolchain go) : InteropTest(go)
{
    private readonly List<TtrpcClient> _clients = [];
    private Program? _server;

    internal Program Server => _server ?? throw new InvalidOperationException("not initialized");

    internal TtrpcClient Ttrpc { get; private set; } = null!;

    internal Peer.PeerClient Peer { get; private set; } = null!;

    /// <summary>Whether the server's sockets give and take bytes one by one.</summary>
    internal virtual bool Bytewise => false;

    /// <summary>Whether the test itself ends the server.</summary>
    internal bool ServerMayEnd { get; set; }

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        _server = new Program(GoToolchain.Program, Bytewise, "serve", SocketPath);
        await Server.Spoken.WaitAsync(Limit);
        Assert.Equal("ready\n", Server.Output);
        (Ttrpc, Peer) = await ConnectAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
        {
            await client.DisposeAsync();
        }
        var output = _server?.Output ?? "";
        var ended = _server?.HasExited ?? false;
        _server?.Dispose();
        await base.DisposeAsync();
        Assert.True(!ended || ServerMayEnd, $"the Go server has ended:\n{output}");
    }

    internal async Task<(TtrpcClient Ttrpc, Peer.PeerClient Peer)> ConnectAsync(TtrpcClientOptions? options = null)
    {
        var client = await TtrpcClient.ConnectAsync(SocketPath, options).AsTask().WaitAsync(Limit);
        _clients.Add(client);
        return (client, new Peer.PeerClient(client));
    }

    /// <summary>The connection must still be good, and nothing may be left of what came before.</summary>
    internal async Task AssertLivesAsync(Peer.PeerClient? peer = null)
    {
        Assert.Equal("alive", await TextAsync((peer ?? Peer).EchoAsync(Messages.Text("alive"))));
        Assert.Equal(0, Ttrpc.ActiveStreams);
    }

    internal static async Task<string> TextAsync(AsyncUnaryCall<BytesValue> call) => (await call.ResponseAsync.WaitAsync(Limit)).ToText();
}
