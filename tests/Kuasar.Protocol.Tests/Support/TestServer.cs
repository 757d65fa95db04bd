using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>A server with the echo service.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly Wire _wire;

    public TestServer(EchoService? service = null, TtrpcServerOptions? options = null, Wire wire = Wire.Memory)
    {
        _wire = wire;
        Server = new TtrpcServer(options);
        Echo.BindService(Server.Services, service ?? new EchoService());
    }

    public TtrpcServer Server { get; }

    public RawPeer Raw() => new(Connect(raw: true));

    public TtrpcClient Client(TtrpcClientOptions? options = null) => new(Connect(raw: false), options);

    public Connection Connect(bool raw = true)
    {
        var (server, client) = _wire.Create("/test", raw);
        _ = Server.ServeAsync(server, default);
        return client;
    }

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}

/// <summary>A client whose server is the test.</summary>
internal sealed class TestClient : IAsyncDisposable
{
    public TestClient(TtrpcClientOptions? options = null, Wire wire = Wire.Memory)
    {
        var (client, server) = wire.Create();
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
