using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>A server with the echo service.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly Over _over;

    public TestServer(Over over, EchoService? service = null, TtrpcServerOptions? options = null)
    {
        _over = over;
        Server = new TtrpcServer(options);
        Echo.BindService(Server.Services, service ?? new EchoService());
    }

    public TtrpcServer Server { get; }

    public RawPeer Raw() => new(Connect(raw: true));

    public TtrpcClient Client(TtrpcClientOptions? options = null) => new(Connect(raw: false), options);

    public Connection Connect(bool raw)
    {
        var (client, server) = Link.Create(_over, rawClient: raw, rawServer: false);
        _ = Server.ServeAsync(server, default);
        return client;
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

/// <summary>A client whose server is the test.</summary>
internal sealed class TestClient : IAsyncDisposable
{
    public TestClient(Over over, TtrpcClientOptions? options = null)
    {
        var (client, server) = Link.Create(over, rawClient: false, rawServer: true);
        Ttrpc = new TtrpcClient(client, options);
        Echo = new Echo.EchoClient(Ttrpc);
        Peer = new RawPeer(server);
    }

    public TtrpcClient Ttrpc { get; }
    public Echo.EchoClient Echo { get; }
    public RawPeer Peer { get; }

    public async ValueTask DisposeAsync()
    {
        await Ttrpc.DisposeAsync();
        await Peer.DisposeAsync();
    }
}

internal static class RpcAssert
{
    public static async Task<RpcException> Fails(StatusCode code, Task call)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => call.WaitAsync(Wait.Limit));
        Assert.Equal(code, error.StatusCode);
        return error;
    }
}
