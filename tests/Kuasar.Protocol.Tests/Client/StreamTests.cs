using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Client;

public abstract class StreamTests : IAsyncDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly TestClient _client;

    private protected StreamTests(Wire wire) => _client = new TestClient(new TtrpcClientOptions { StreamQueueLimit = 10_000 }, wire);

    public ValueTask DisposeAsync() => _client.DisposeAsync();

    [Fact]
    public async Task ServerStream_OpensClosedAndReadsToTheEndFrame()
    {
        using var call = _client.Echo.Down(Hello);
        var frame = await _client.Peer.Receive();
        Assert.Equal((FrameType.Request, FrameFlags.RemoteClosed), (frame.Type, frame.Flags));
        Assert.Equal(Hello.ToByteString(), frame.AsRequest.Payload);
        await _client.Peer.SendData(1, Hello);
        await _client.Peer.Send(1, FrameType.Data, 0, []); // an empty message, not an end
        await _client.Peer.SendEnd(1);
        Assert.Equal([Hello, new EchoMessage()], await ReadAll(call.ResponseStream));
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        AssertNothingLeft();
    }

    [Fact]
    public async Task ServerStream_DataOnTheClosingFrame_IsRead()
    {
        using var call = _client.Echo.Down(Hello);
        await _client.Peer.Receive();
        await _client.Peer.SendData(1, Hello, FrameFlags.RemoteClosed);
        Assert.Equal([Hello], await ReadAll(call.ResponseStream));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ServerStream_EndedByAnOkResponse(bool withMessage)
    {
        using var call = _client.Echo.Down(Hello);
        await _client.Peer.Receive();
        await _client.Peer.Respond(1, withMessage ? Hello : new EchoMessage());
        Assert.Equal(withMessage ? 1 : 0, (await ReadAll(call.ResponseStream)).Count);
    }

    [Fact]
    public async Task ServerStream_MessagesComeBeforeTheError()
    {
        using var call = _client.Echo.Down(Hello);
        await _client.Peer.Receive();
        await _client.Peer.SendData(1, Hello);
        await _client.Peer.Send(1, FrameType.Response, 0, new Response { Status = new() { Code = 9 } }.ToByteArray());
        Assert.True(await call.ResponseStream.MoveNext().Within());
        await RpcAssert.Fails(StatusCode.FailedPrecondition, call.ResponseStream.MoveNext());
        AssertNothingLeft();
    }

    [Fact]
    public async Task StreamThatIsNotRead_Fails_AndTheConnectionGoesOn()
    {
        using var slow = _client.Echo.Down(Hello);
        var call = _client.Echo.UnaryAsync(Hello);
        for (var i = 0; i < 1000; i++)
        {
            await _client.Peer.SendData(1, Hello);
        }
        await _client.Peer.Respond(3, Hello);
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        await RpcAssert.Fails(StatusCode.ResourceExhausted, ReadAll(slow.ResponseStream));
        AssertNothingLeft();
    }

    [Fact]
    public async Task ClientStream_OpensWith06_EndsWith05()
    {
        using var call = _client.Echo.Up();
        await call.RequestStream.WriteAsync(Hello).Within();
        await call.RequestStream.WriteAsync(new EchoMessage()).Within();
        await call.RequestStream.CompleteAsync().Within();
        await call.RequestStream.CompleteAsync().Within();
        var frames = new[]
        {
            await _client.Peer.Receive(), await _client.Peer.Receive(), await _client.Peer.Receive(), await _client.Peer.Receive(),
        };
        Assert.Equal([FrameType.Request, FrameType.Data, FrameType.Data, FrameType.Data], frames.Select(f => f.Type));
        Assert.Equal([6, 0, 0, 5], frames.Select(f => (int)f.Flags));
        Assert.Empty(frames[0].AsRequest.Payload);
        Assert.Equal(Hello, frames[1].AsMessage);
        Assert.Empty(frames[3].Data);
        await Assert.ThrowsAsync<InvalidOperationException>(() => call.RequestStream.WriteAsync(Hello));
        await _client.Peer.Respond(1, Hello);
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        AssertNothingLeft();
    }

    [Fact]
    public async Task ClientStream_EndedWithoutAResponse_Fails()
    {
        using var call = _client.Echo.Up();
        await _client.Peer.Receive();
        await _client.Peer.SendEnd(1);
        await RpcAssert.Fails(StatusCode.Internal, call.ResponseAsync);
    }

    [Fact]
    public async Task ClientStream_OversizeMessage_FailsTheWriteOnly()
    {
        using var call = _client.Echo.Up();
        await _client.Peer.Receive();
        var big = new EchoMessage { Blob = ByteString.CopyFrom(new byte[4 << 20]) };
        await RpcAssert.Fails(StatusCode.ResourceExhausted, call.RequestStream.WriteAsync(big));
        await call.RequestStream.WriteAsync(Hello);
        Assert.Equal(Hello, (await _client.Peer.Receive()).AsMessage);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public async Task Duplex_NothingIsSentAfterTheServersEnd(int code)
    {
        using var call = _client.Echo.Both();
        await _client.Peer.Receive();
        if (code == 0)
        {
            await _client.Peer.SendEnd(1);
            Assert.False(await call.ResponseStream.MoveNext().Within());
            await Assert.ThrowsAsync<InvalidOperationException>(() => call.RequestStream.WriteAsync(Hello));
        }
        else
        {
            await _client.Peer.Send(1, FrameType.Response, 0, new Response { Status = new() { Code = code } }.ToByteArray());
            await RpcAssert.Fails((StatusCode)code, call.ResponseStream.MoveNext());
            await RpcAssert.Fails((StatusCode)code, call.RequestStream.WriteAsync(Hello));
        }
        await call.RequestStream.CompleteAsync().Within();
        _ = _client.Echo.UnaryAsync(Hello);
        Assert.Equal(3u, (await _client.Peer.Receive()).Id);
    }

    [Fact]
    public async Task MoveNext_Cancelled_CancelsTheCall()
    {
        using var call = _client.Echo.Down(Hello);
        using var cancel = new CancellationTokenSource();
        var next = call.ResponseStream.MoveNext(cancel.Token);
        await cancel.CancelAsync();
        await RpcAssert.Fails(StatusCode.Cancelled, next);
        AssertNothingLeft();
    }

    private void AssertNothingLeft() => Assert.Equal(0, _client.Ttrpc.ActiveStreams);

    private static async Task<List<EchoMessage>> ReadAll(IAsyncStreamReader<EchoMessage> stream)
    {
        var messages = new List<EchoMessage>();
        while (await stream.MoveNext(default).Within())
        {
            messages.Add(stream.Current);
        }
        return messages;
    }
}

public sealed class ClientStreamInMemoryTests() : StreamTests(Wire.Memory);

public sealed class ClientStreamOnSocketTests() : StreamTests(Wire.Socket);

public sealed class ClientStreamBytewiseOnSocketTests() : StreamTests(Wire.Crumbs);
