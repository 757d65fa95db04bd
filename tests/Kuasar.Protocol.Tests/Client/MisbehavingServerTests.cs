using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Client;

/// <summary>Servers as they should not be; each test ends with a call that shows the connection lives.</summary>
public abstract class MisbehavingServerTests : IAsyncDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly TestClient _client;

    private protected MisbehavingServerTests(Wire wire) => _client = new TestClient(wire: wire);

    private RawPeer Peer => _client.Peer;

    public ValueTask DisposeAsync() => _client.DisposeAsync();

    [Theory]
    [InlineData(0x01)]
    [InlineData(0x05)]
    [InlineData(0xFF)]
    public async Task Response_WithAnyFlags_IsTaken(int flags)
    {
        var call = _client.Echo.UnaryAsync(Hello);
        await Peer.Receive();
        await Peer.Send(1, FrameType.Response, (FrameFlags)flags, new Response { Payload = Hello.ToByteString() }.ToByteArray());
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        await AssertLives();
    }

    /// <summary>Go leaves the status of a good response out, Rust sends an empty one.</summary>
    [Fact]
    public async Task Response_WithAnEmptyStatus_IsOk()
    {
        var call = _client.Echo.UnaryAsync(Hello);
        await Peer.Receive();
        await Peer.Send(1, FrameType.Response, 0, new Response { Status = new(), Payload = Hello.ToByteString() }.ToByteArray());
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        await AssertLives();
    }

    [Fact]
    public async Task Response_ASecondTime_IsIgnored()
    {
        var call = _client.Echo.UnaryAsync(Hello);
        await Peer.Receive();
        for (var i = 0; i < 3; i++)
        {
            await Peer.Respond(1, Hello);
        }
        await Peer.Send(1, FrameType.Response, 0, new byte[(4 << 20) + 1]);
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        await AssertLives();
    }

    [Fact]
    public async Task Response_BeforeItsRequest_IsIgnored()
    {
        await Peer.Respond(3, new EchoMessage { Text = "early" });
        var first = _client.Echo.UnaryAsync(Hello);
        await Peer.Receive();
        await Peer.Respond(1, Hello); // the early one was read before this
        await first.ResponseAsync.Within();
        var second = _client.Echo.UnaryAsync(Hello);
        Assert.Equal(3u, (await Peer.Receive()).Id);
        await Peer.Respond(3, Hello);
        Assert.Equal(Hello, await second.ResponseAsync.Within());
        await AssertLives();
    }

    /// <summary>Even ids are the server's own; nobody opens such streams.</summary>
    [Theory]
    [InlineData(0u)]
    [InlineData(2u)]
    [InlineData(99u)]
    public async Task Requests_OfAServer_AreIgnored(uint id)
    {
        await Peer.SendRequest(id, "Unary", Hello);
        await Peer.SendRequest(id, "Up", null, FrameFlags.OpenStream);
        await Peer.SendData(id, Hello);
        await AssertLives();
    }

    [Fact]
    public async Task ServerStream_DataAfterItsEnd_IsIgnored()
    {
        using var call = _client.Echo.Down(Hello);
        await Peer.Receive();
        await Peer.SendData(1, Hello);
        await Peer.SendEnd(1);
        await Peer.SendData(1, Hello);
        await Peer.SendEnd(1);
        await Peer.Respond(1, Hello);
        Assert.True(await call.ResponseStream.MoveNext().Within());
        Assert.False(await call.ResponseStream.MoveNext().Within());
        await AssertLives();
    }

    [Fact]
    public async Task ServerStream_OversizeMessage_FailsThatStreamOnly_AfterWhatCameBefore()
    {
        using var call = _client.Echo.Down(Hello);
        using var other = _client.Echo.Down(Hello);
        await Peer.Receive();
        await Peer.Receive();
        await Peer.SendData(1, Hello);
        await Peer.Send(1, FrameType.Data, 0, new byte[(4 << 20) + 1]);
        await Peer.SendData(3, Hello);
        await Peer.SendEnd(3);
        Assert.True(await call.ResponseStream.MoveNext().Within());
        await RpcAssert.Fails(StatusCode.ResourceExhausted, call.ResponseStream.MoveNext());
        Assert.True(await other.ResponseStream.MoveNext().Within());
        Assert.False(await other.ResponseStream.MoveNext().Within());
        await AssertLives(5);
    }

    [Fact]
    public async Task ServerStream_UndecodableMessage_FailsThatStreamOnly()
    {
        using var call = _client.Echo.Down(Hello);
        await Peer.Receive();
        await Peer.Send(1, FrameType.Data, 0, [0x0A, 9]);
        await RpcAssert.Fails(StatusCode.Internal, call.ResponseStream.MoveNext());
        await AssertLives();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Duplex_EndedByAnOkResponse(bool withMessage)
    {
        using var call = _client.Echo.Both();
        await Peer.Receive();
        await Peer.Respond(1, withMessage ? Hello : new EchoMessage());
        Assert.Equal(withMessage, await call.ResponseStream.MoveNext().Within());
        Assert.False(!withMessage && await call.ResponseStream.MoveNext().Within());
        await AssertLives();
    }

    [Fact]
    public async Task ClientStream_AnsweredBeforeItsEnd_SendsNothingMore()
    {
        using var call = _client.Echo.Up();
        await Peer.Receive();
        await Peer.Respond(1, Hello);
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        await Assert.ThrowsAsync<InvalidOperationException>(() => call.RequestStream.WriteAsync(Hello));
        await call.RequestStream.CompleteAsync().Within();
        await AssertLives();
    }

    /// <summary>A cancelled stream says nothing on the wire: Go's server dies of data for a stream that it has ended.</summary>
    [Fact]
    public async Task Cancelled_Streams_SayNothing()
    {
        using var source = new CancellationTokenSource();
        using var up = _client.Echo.Up(cancellationToken: source.Token);
        using var both = _client.Echo.Both(cancellationToken: source.Token);
        await Peer.Receive();
        await Peer.Receive();
        await source.CancelAsync();
        await RpcAssert.Fails(StatusCode.Cancelled, up.RequestStream.WriteAsync(Hello));
        await RpcAssert.Fails(StatusCode.Cancelled, both.RequestStream.WriteAsync(Hello));
        await up.RequestStream.CompleteAsync().Within();
        await both.RequestStream.CompleteAsync().Within();
        await AssertLives(5);
    }

    [Fact]
    public async Task MetadataAndDeadline_TravelWithEveryKind()
    {
        var (headers, deadline) = (new Metadata { { "Key", "1" }, { "key", "2" } }, DateTime.UtcNow.AddMinutes(1));
        using var unary = _client.Echo.UnaryAsync(Hello, headers, deadline);
        using var down = _client.Echo.Down(Hello, headers, deadline);
        using var up = _client.Echo.Up(headers, deadline);
        using var both = _client.Echo.Both(headers, deadline);
        for (var i = 0; i < 4; i++)
        {
            var request = (await Peer.Receive()).AsRequest;
            Assert.Equal([("key", "1"), ("key", "2")], request.Metadata.Select(pair => (pair.Key, pair.Value)));
            Assert.InRange(request.TimeoutNano, 20_000_000_000, 60_000_000_000);
        }
    }

    [Theory]
    [InlineData(3)]
    [InlineData(12)]
    public async Task ServerThatClosesWithinAFrame_IsUnavailable(int bytes)
    {
        var call = _client.Echo.UnaryAsync(Hello);
        await Peer.Receive();
        await Peer.SendBytes(RawPeer.Frame(1, FrameType.Response, 0, new byte[100]).AsMemory(0, bytes));
        await Peer.DisposeAsync();
        await RpcAssert.Fails(StatusCode.Unavailable, call.ResponseAsync);
        await Wait.Until(() => _client.Ttrpc.Closed.IsCancellationRequested);
        Assert.Equal(0, _client.Ttrpc.ActiveStreams);
    }

    [Fact]
    public async Task RandomFrames_EndEveryCall_AndLeaveNothing()
    {
        var random = new Random(11);
        for (var round = 0; round < 20; round++)
        {
            using var down = _client.Echo.Down(Hello);
            using var up = _client.Echo.Up();
            using var both = _client.Echo.Both();
            var first = (await Peer.Receive()).Id;
            await Peer.Receive();
            await Peer.Receive();
            for (var i = 0; i < 50; i++)
            {
                var data = new byte[random.Next(40)];
                random.NextBytes(data);
                await Peer.Send((uint)(first + random.Next(6)), (FrameType)random.Next(1, 5), (FrameFlags)random.Next(8), data);
            }
            for (var id = first; id <= first + 4; id += 2)
            {
                await Peer.Send(id, FrameType.Response, 0, new Response { Status = new() { Code = 10 } }.ToByteArray());
            }
            await Assert.ThrowsAnyAsync<Exception>(() => DrainAsync(down.ResponseStream, both.ResponseStream, up.ResponseAsync).Within());
            await Wait.Until(() => _client.Ttrpc.ActiveStreams == 0);
        }
    }

    // Some have ended well, by chance; that all have ended is what counts.
    private static async Task DrainAsync(
        IAsyncStreamReader<EchoMessage> down, IAsyncStreamReader<EchoMessage> both, Task<EchoMessage> up)
    {
        foreach (var stream in new[] { down, both })
        {
            try
            {
                while (await stream.MoveNext(default))
                {
                }
            }
            catch (RpcException)
            {
            }
        }
        await up;
        throw new InvalidOperationException("all have ended");
    }

    private async Task AssertLives(uint? id = null)
    {
        var call = _client.Echo.UnaryAsync(Hello);
        var request = await Peer.Receive();
        Assert.Equal((FrameType.Request, id ?? request.Id), (request.Type, request.Id));
        await Peer.Respond(request.Id, Hello);
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        Assert.Equal(0, _client.Ttrpc.ActiveStreams);
    }
}

public sealed class MisbehavingServerInMemoryTests() : MisbehavingServerTests(Wire.Memory);

public sealed class MisbehavingServerOnSocketTests() : MisbehavingServerTests(Wire.Socket);

public sealed class MisbehavingServerBytewiseOnSocketTests() : MisbehavingServerTests(Wire.Crumbs);
