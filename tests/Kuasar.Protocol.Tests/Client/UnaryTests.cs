using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;
using Google.Protobuf;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Tests.Client;

public abstract class UnaryTests : IAsyncDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly TestClient _client;

    private protected UnaryTests(Wire wire) => _client = new TestClient(wire: wire);

    public ValueTask DisposeAsync() => _client.DisposeAsync();

    [Fact]
    public async Task Call_WritesTheEnvelope_AndReadsTheResponse()
    {
        var call = _client.Echo.UnaryAsync(Hello, new Metadata { { "Containerd-Namespace-Ttrpc", "k8s.io" } });
        var frame = await _client.Peer.Receive();
        Assert.Equal((1u, FrameType.Request, FrameFlags.None), (frame.Id, frame.Type, frame.Flags));
        var expected = new Request
        {
            Service = RawPeer.Service,
            Method = "Unary",
            Payload = Hello.ToByteString(),
            Metadata = { new KeyValue { Key = "containerd-namespace-ttrpc", Value = "k8s.io" } },
        };
        Assert.Equal(expected, frame.AsRequest);
        await _client.Peer.Respond(1, new EchoMessage { Text = "back" });
        Assert.Equal("back", (await call.ResponseAsync.Within()).Text);
        Assert.Empty(await call.ResponseHeadersAsync);
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        Assert.Empty(call.GetTrailers());
        AssertNothingLeft(1);
    }

    [Fact]
    public async Task Call_EmptyResponse_IsADefaultMessage()
    {
        var call = _client.Echo.UnaryAsync(Hello);
        await _client.Peer.Receive();
        await _client.Peer.Send(1, FrameType.Response, 0, [0x0A, 0]); // Rust's OK
        Assert.Equal(new EchoMessage(), await call.ResponseAsync.Within());
    }

    [Fact]
    public async Task BlockingCall_Works()
    {
        var call = Task.Run(() => _client.Echo.Unary(Hello));
        await _client.Peer.Receive();
        await _client.Peer.Respond(1, Hello);
        Assert.Equal(Hello, await call.Within());
    }

    [Fact]
    public async Task ConcurrentCalls_IdsOnTheWireStrictlyIncrease()
    {
        const int count = 500;
        var calls = Task.Run(() => Parallel.For(0, count, _ => _client.Echo.UnaryAsync(Hello)));
        uint last = 0;
        for (var i = 0; i < count; i++)
        {
            var id = (await _client.Peer.Receive()).Id;
            Assert.True(id > last && id % 2 == 1);
            last = id;
        }
        await calls.Within();
    }

    [Fact]
    public async Task Error_HasStatusAndDetails()
    {
        var status = new RpcStatus { Code = 5, Message = "gone", Details = { Any.Pack(Hello) } };
        var call = _client.Echo.UnaryAsync(Hello);
        await _client.Peer.Receive();
        await _client.Peer.Send(1, FrameType.Response, 0, new Response { Status = status }.ToByteArray());
        var error = await RpcAssert.Fails(StatusCode.NotFound, call.ResponseAsync);
        Assert.Equal("gone", error.Status.Detail);
        Assert.Equal(status, RpcStatus.Parser.ParseFrom(error.Trailers.GetValueBytes("grpc-status-details-bin")));
        Assert.Equal(StatusCode.NotFound, call.GetStatus().StatusCode);
        Assert.Single(call.GetTrailers());
        AssertNothingLeft(1);
    }

    [Fact]
    public async Task BinaryHeader_IsRefusedUnsent()
    {
        var call = _client.Echo.UnaryAsync(Hello, new Metadata { { "x-bin", new byte[] { 1 } } });
        await RpcAssert.Fails(StatusCode.InvalidArgument, call.ResponseAsync);
        AssertNothingLeft(0);
    }

    [Fact]
    public async Task OversizeRequest_IsRefusedUnsent_AndTheNextCallWorks()
    {
        var big = new EchoMessage { Blob = ByteString.CopyFrom(new byte[4 << 20]) };
        await RpcAssert.Fails(StatusCode.ResourceExhausted, _client.Echo.UnaryAsync(big).ResponseAsync);
        AssertNothingLeft(0);
        var call = _client.Echo.UnaryAsync(Hello);
        Assert.Equal(Hello.ToByteString(), (await _client.Peer.Receive()).AsRequest.Payload);
        Assert.False(call.ResponseAsync.IsCompleted);
    }

    [Fact]
    public async Task OversizeResponse_FailsThatCallOnly()
    {
        var first = _client.Echo.UnaryAsync(Hello);
        var second = _client.Echo.UnaryAsync(Hello);
        await _client.Peer.Send(1, FrameType.Response, 0, new byte[(4 << 20) + 1]);
        await _client.Peer.Respond(3, Hello);
        await RpcAssert.Fails(StatusCode.ResourceExhausted, first.ResponseAsync);
        Assert.Equal(Hello, await second.ResponseAsync.Within());
    }

    [Theory]
    [InlineData(2, new byte[] { 0x12, 9 })] // malformed envelope
    [InlineData(2, new byte[] { 0x0A, 1, 0x08 })] // malformed status
    [InlineData(2, new byte[] { 0x12, 1, 0x0A })] // malformed message
    [InlineData(9, new byte[0])]
    [InlineData(1, new byte[0])]
    public async Task ProtocolError_FailsThatCallOnly(int type, byte[] data)
    {
        var first = _client.Echo.UnaryAsync(Hello);
        var second = _client.Echo.UnaryAsync(Hello);
        await _client.Peer.Send(1, (FrameType)type, 0, data);
        await _client.Peer.Respond(3, Hello);
        await RpcAssert.Fails(StatusCode.Internal, first.ResponseAsync);
        Assert.Equal(Hello, await second.ResponseAsync.Within());
        AssertNothingLeft(2);
    }

    [Fact]
    public async Task FramesForUnknownStreams_AndDataForAUnaryOne_AreIgnored()
    {
        var call = _client.Echo.UnaryAsync(Hello);
        await _client.Peer.Receive();
        await _client.Peer.SendData(1, Hello);
        await _client.Peer.SendEnd(1);
        await _client.Peer.SendData(99, Hello);
        await _client.Peer.Send(98, (FrameType)0x42, 0, [1]);
        await _client.Peer.Respond(97, Hello);
        await _client.Peer.Respond(1, Hello);
        Assert.Equal(Hello, await call.ResponseAsync.Within());
    }

    [Fact]
    public async Task Cancel_IsLocal_AndTheLateResponseIsIgnored()
    {
        using var cancel = new CancellationTokenSource();
        var call = _client.Echo.UnaryAsync(Hello, cancellationToken: cancel.Token);
        await _client.Peer.Receive();
        await cancel.CancelAsync();
        await RpcAssert.Fails(StatusCode.Cancelled, call.ResponseAsync);
        AssertNothingLeft(1);
        await _client.Peer.Respond(1, Hello);
        var next = _client.Echo.UnaryAsync(Hello);
        Assert.Equal(3u, (await _client.Peer.Receive()).Id);
        await _client.Peer.Respond(3, Hello);
        await next.ResponseAsync.Within();
        AssertNothingLeft(2);
    }

    [Fact]
    public async Task Dispose_OfTheCall_CancelsIt()
    {
        var call = _client.Echo.UnaryAsync(Hello);
        Assert.Throws<InvalidOperationException>(() => call.GetStatus());
        call.Dispose();
        await RpcAssert.Fails(StatusCode.Cancelled, call.ResponseAsync);
        AssertNothingLeft(1);
    }

    private void AssertNothingLeft(int removed)
    {
        Assert.Equal(0, _client.Ttrpc.ActiveStreams);
        Assert.Equal(removed, _client.Ttrpc.Inner.Streams.Removed);
    }
}

public sealed class UnaryInMemoryTests() : UnaryTests(Wire.Memory);

public sealed class UnaryOnSocketTests() : UnaryTests(Wire.Socket);

public sealed class UnaryBytewiseOnSocketTests() : UnaryTests(Wire.Crumbs);
