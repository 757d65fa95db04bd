using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Server;

public abstract class StreamTests
{
    private static readonly EchoMessage One = new() { Text = "a", Number = 1 };
    private readonly Wire _wire;

    private protected StreamTests(Wire wire) => _wire = wire;

    [Fact]
    public async Task ServerStream_EndsWithASeparateFrame()
    {
        await using var server = new TestServer(wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Down", new EchoMessage { Number = 2 }, FrameFlags.RemoteClosed);
        var frames = new[] { await peer.Receive(), await peer.Receive(), await peer.Receive() };
        Assert.All(frames, f => Assert.Equal(FrameType.Data, f.Type));
        Assert.Equal([0, 0, 5], frames.Select(f => (int)f.Flags));
        Assert.Empty(frames[0].Data); // number 0 is an empty message
        Assert.Empty(frames[2].Data);
        await peer.SendEnd(1); // a late half-close: answered once at most, and harmless
    }

    [Theory]
    [InlineData(2)]
    [InlineData(6)]
    [InlineData(0)]
    public async Task ClientStream_AnyOpening_HasNoInventedMessage(int flags)
    {
        await using var server = new TestServer(wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Up", null, (FrameFlags)flags);
        await peer.SendData(1, One);
        await peer.Send(1, FrameType.Data, 0, []);
        await peer.SendData(1, One);
        await peer.SendEnd(1);
        Assert.Equal(new EchoMessage { Text = "aa", Number = 2 }.ToByteString(), (await peer.Receive()).AsResponse.Payload);
    }

    [Fact]
    public async Task ClientStream_PayloadIsTheFirstMessage_DataOnTheClosingFrameTheLast()
    {
        await using var server = new TestServer(wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Up", One, FrameFlags.RemoteOpen);
        await peer.SendData(1, One, FrameFlags.RemoteClosed);
        Assert.Equal(new EchoMessage { Text = "aa", Number = 2 }.ToByteString(), (await peer.Receive()).AsResponse.Payload);
    }

    [Fact]
    public async Task Data_AfterTheEnd_FailsTheStream()
    {
        var hold = new TaskCompletionSource();
        await using var server = new TestServer(
            new EchoService { OnUp = async (_, _) => { await hold.Task; return One; } }, wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Up", null, FrameFlags.OpenStream);
        await peer.SendEnd(1);
        await peer.SendData(1, One);
        Assert.Equal((int)StatusCode.InvalidArgument, (await peer.Receive()).Code);
        hold.SetResult();
    }

    [Fact]
    public async Task Data_ThatIsNoMessage_FailsTheStream()
    {
        await using var server = new TestServer(wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Both", null, FrameFlags.OpenStream);
        await peer.Send(1, FrameType.Data, 0, [0x0A, 9]);
        Assert.Equal((int)StatusCode.Internal, (await peer.Receive()).Code);
        await Wait.Until(() => server.Server is { ActiveStreams: 0, RunningHandlers: 0 });
    }

    [Fact]
    public async Task StreamThatIsNotRead_Fails_AndTheConnectionGoesOn()
    {
        var ended = new TaskCompletionSource<bool>();
        var service = new EchoService
        {
            OnUp = async (_, context) =>
            {
                using var gone = context.CancellationToken.Register(() => ended.TrySetResult(true));
                await ended.Task;
                return One;
            },
        };
        await using var server = new TestServer(service, new TtrpcServerOptions { StreamQueueLimit = 10_000 }, _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Up", null, FrameFlags.OpenStream);
        for (var i = 0; i < 500; i++)
        {
            await peer.SendData(1, One);
        }
        Assert.Equal((int)StatusCode.ResourceExhausted, (await peer.Receive()).Code);
        Assert.True(await ended.Task.Within());
        await peer.SendRequest(3, "Unary", One);
        Assert.Equal(3u, (await peer.Receive()).Id); // the rest of the data is not answered
        await Wait.Until(() => server.Server.ActiveStreams == 0);
    }

    [Fact]
    public async Task OversizeData_FailsTheStreamOnly()
    {
        await using var server = new TestServer(options: new TtrpcServerOptions { MaxMessageSize = 1000 }, wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Up", null, FrameFlags.OpenStream);
        await peer.Send(1, FrameType.Data, 0, new byte[1001]);
        Assert.Equal((int)StatusCode.ResourceExhausted, (await peer.Receive()).Code);
        await peer.SendRequest(3, "Unary", One);
        Assert.Equal(0, (await peer.Receive()).Code);
    }

    [Fact]
    public async Task HandlersOversizeMessage_FailsItsWrite()
    {
        await using var server = new TestServer(new EchoService
        {
            OnDown = (_, output, _) => output.WriteAsync(new EchoMessage { Blob = ByteString.CopyFrom(new byte[5 << 20]) }),
        }, wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Down", One, FrameFlags.RemoteClosed);
        Assert.Equal((int)StatusCode.ResourceExhausted, (await peer.Receive()).Code);
    }
}

public sealed class ServerStreamInMemoryTests() : StreamTests(Wire.Memory);

public sealed class ServerStreamOnSocketTests() : StreamTests(Wire.Socket);

public sealed class ServerStreamBytewiseOnSocketTests() : StreamTests(Wire.Crumbs);
