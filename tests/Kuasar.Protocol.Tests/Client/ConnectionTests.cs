using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Client;

public abstract class ConnectionTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly Wire _wire;

    private protected ConnectionTests(Wire wire) => _wire = wire;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ConnectionLost_CallsAreUnavailable_AndClosedFires(bool abort)
    {
        await using var client = new TestClient(wire: _wire);
        var unary = client.Echo.UnaryAsync(Hello);
        var both = client.Echo.Both();
        await client.Peer.Receive();
        if (abort)
        {
            client.Peer.Connection.Abort();
        }
        else
        {
            await client.Peer.DisposeAsync();
        }
        await RpcAssert.Fails(StatusCode.Unavailable, unary.ResponseAsync);
        await RpcAssert.Fails(StatusCode.Unavailable, both.ResponseStream.MoveNext());
        await RpcAssert.Fails(StatusCode.Unavailable, both.RequestStream.WriteAsync(Hello));
        await Wait.Until(() => client.Ttrpc.Closed.IsCancellationRequested);
        await RpcAssert.Fails(StatusCode.Unavailable, client.Echo.UnaryAsync(Hello).ResponseAsync);
        Assert.Equal(0, client.Ttrpc.ActiveStreams);
        Assert.Equal(2, client.Ttrpc.Inner.Streams.Removed);
    }

    [Fact]
    public async Task Garbage_ClosesTheConnection()
    {
        await using var client = new TestClient(wire: _wire);
        var call = client.Echo.UnaryAsync(Hello);
        await client.Peer.SendBytes("HTTP/1.1 400 Bad Request\r\n"u8.ToArray());
        await RpcAssert.Fails(StatusCode.Unavailable, call.ResponseAsync);
    }

    [Fact]
    public async Task Dispose_FailsCalls_AndEndsThePeer()
    {
        await using var client = new TestClient(wire: _wire);
        var call = client.Echo.UnaryAsync(Hello);
        await client.Peer.Receive();
        await client.Ttrpc.DisposeAsync().AsTask().Within();
        await client.Ttrpc.DisposeAsync().AsTask().Within();
        await RpcAssert.Fails(StatusCode.Unavailable, call.ResponseAsync);
        Assert.Null(await client.Peer.TryReceive());
    }

    [Fact]
    public async Task IdsExhausted_IsUnavailable()
    {
        await using var client = new TestClient(new TtrpcClientOptions { FirstStreamId = uint.MaxValue - 2 }, _wire);
        _ = client.Echo.UnaryAsync(Hello);
        _ = client.Echo.UnaryAsync(Hello);
        await RpcAssert.Fails(StatusCode.Unavailable, client.Echo.UnaryAsync(Hello).ResponseAsync);
        Assert.Equal(uint.MaxValue - 2, (await client.Peer.Receive()).Id);
        Assert.Equal(uint.MaxValue, (await client.Peer.Receive()).Id);
    }
}

public sealed class ConnectionInMemoryTests() : ConnectionTests(Wire.Memory);

public sealed class ConnectionOnSocketTests() : ConnectionTests(Wire.Socket);

public sealed class ConnectionBytewiseOnSocketTests() : ConnectionTests(Wire.Crumbs);
