using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Server;

/// <summary>Raw frames against the server; each test ends with a call that shows the connection lives.</summary>
public abstract class DispatchTests : IAsyncDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly TaskCompletionSource _release = new();
    private readonly LogLines _log = new();
    private readonly TestServer _server;
    private readonly RawPeer _peer;

    private protected DispatchTests(Wire wire)
    {
        var service = new EchoService
        {
            OnUnary = async (m, context) =>
            {
                if (m.Text == "wait")
                {
                    await _release.Task.WaitAsync(context.CancellationToken);
                }
                return m.Text == "big" ? new EchoMessage { Blob = ByteString.CopyFrom(new byte[5 << 20]) } : m;
            },
        };
        _server = new TestServer(service, new TtrpcServerOptions { LoggerFactory = _log }, wire);
        _peer = _server.Raw();
    }

    public async ValueTask DisposeAsync()
    {
        _log.Dispose();
        await _peer.DisposeAsync();
        await _server.DisposeAsync();
    }

    [Fact]
    public async Task Ids_NeedNotIncrease_AndMayComeAgain()
    {
        foreach (var id in new uint[] { 9, 3, 7, 3, 1, uint.MaxValue })
        {
            await AssertLives(id);
        }
    }

    [Fact]
    public async Task Id_OfALiveStream_IsRefused()
    {
        await _peer.SendRequest(5, "Unary", new EchoMessage { Text = "wait" });
        await _peer.SendRequest(5, "Unary", Hello);
        Assert.Equal((int)StatusCode.InvalidArgument, (await _peer.Receive()).Code);
        _release.SetResult();
        Assert.Equal(0, (await _peer.Receive()).Code);
        await AssertLives();
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(2u)]
    public async Task Id_Even_IsRefused(uint id)
    {
        await _peer.SendRequest(id, "Unary", Hello);
        await AssertAnswer(id, StatusCode.InvalidArgument);
        await AssertLives();
    }

    [Theory]
    [InlineData("no.Such", "Unary")]
    [InlineData("kuasar.test.Echo", "NoSuch")]
    [InlineData("kuasar.test.Echo/Unary", "")]
    [InlineData("", "")]
    public async Task UnknownServiceOrMethod_IsUnimplemented(string service, string method)
    {
        await _peer.SendRequest(1, method, Hello, service: service);
        await AssertAnswer(1, StatusCode.Unimplemented);
        await _peer.SendRequest(1, new string('x', 1000), Hello, service: service);
        await AssertAnswer(1, StatusCode.Unimplemented);
        await AssertLives();
    }

    [Fact]
    public async Task OversizeRequest_IsAnsweredBeforeItsBodyHasCome()
    {
        var frame = RawPeer.Frame(1, FrameType.Request, 0, new byte[(4 << 20) + 1]);
        await _peer.SendBytes(frame.AsMemory(0, FrameHeader.Size));
        await AssertAnswer(1, StatusCode.ResourceExhausted);
        await _peer.SendBytes(frame.AsMemory(FrameHeader.Size));
        await AssertLives();
    }

    [Fact]
    public async Task LargestRequest_IsTaken()
    {
        var envelope = new Request { Service = RawPeer.Service, Method = "Unary" };
        var empty = new EchoMessage { Text = "x", Blob = ByteString.CopyFrom(new byte[(4 << 20) - 100]) };
        envelope.Payload = empty.ToByteString();
        envelope.Metadata.Add(new KeyValue { Key = "pad" });
        envelope.Metadata[0].Value = new string('x', (4 << 20) - envelope.CalculateSize() - 2);
        Assert.Equal(4 << 20, envelope.CalculateSize());
        await _peer.Send(1, FrameType.Request, 0, envelope.ToByteArray());
        Assert.Equal(0, (await _peer.Receive()).Code);
    }

    [Fact]
    public async Task OversizeResponse_BecomesAnError()
    {
        await _peer.SendRequest(1, "Unary", new EchoMessage { Text = "big" });
        await AssertAnswer(1, StatusCode.ResourceExhausted);
        await AssertLives();
    }

    [Fact]
    public async Task UndecodableRequest_IsInvalid_UndecodablePayload_Internal()
    {
        await _peer.Send(1, FrameType.Request, 0, [0x0A, 9, 1]);
        await AssertAnswer(1, StatusCode.InvalidArgument);
        var request = new Request { Service = RawPeer.Service, Method = "Unary", Payload = ByteString.CopyFrom(0x0A, 9, 1) };
        await _peer.Send(3, FrameType.Request, 0, request.ToByteArray());
        await AssertAnswer(3, StatusCode.Internal);
        request.Method = "Up";
        await _peer.Send(5, FrameType.Request, FrameFlags.RemoteOpen, request.ToByteArray());
        await AssertAnswer(5, StatusCode.Internal);
        await AssertLives();
    }

    [Fact]
    public async Task UnknownTypes_AreIgnored()
    {
        await _peer.Send(1, (FrameType)0x04, 0, [1]);
        await _peer.Send(1, (FrameType)0xFF, (FrameFlags)0xFF, []);
        await _peer.Send(1, FrameType.Response, 0, []);
        await AssertLives();
    }

    [Theory]
    [InlineData(1u)]
    [InlineData(2u)]
    public async Task Data_OfAnUnknownStream_IsAnsweredOnce(uint id)
    {
        for (var i = 0; i < 5; i++)
        {
            await _peer.SendData(id, Hello);
        }
        await AssertAnswer(id, StatusCode.InvalidArgument);
        await AssertLives();
    }

    /// <summary>Go's client holds one unread frame a stream, and with a second one it reads no more of its connection.</summary>
    [Theory]
    [InlineData("NoSuchStream")]
    [InlineData("Up")]
    [InlineData("Unary")]
    public async Task Data_OfAStreamThatHasItsAnswer_IsNotAnswered(string method)
    {
        await _peer.Send(3, FrameType.Request, FrameFlags.RemoteOpen, new Request { Service = RawPeer.Service, Method = method }.ToByteArray());
        if (method == "Up")
        {
            await _peer.Send(3, FrameType.Data, 0, [0x0A, 9]); // no message
        }
        Assert.Equal(3u, (await _peer.Receive()).Id);
        await _peer.SendData(3, Hello);
        await _peer.Send(3, FrameType.Data, 0, new byte[(4 << 20) + 1]);
        await _peer.SendEnd(3);
        await AssertLives();
    }

    [Fact]
    public async Task Data_OfAUnaryStream_FailsItOnce()
    {
        await _peer.SendRequest(1, "Unary", new EchoMessage { Text = "wait" });
        await _peer.SendData(1, Hello);
        await _peer.SendData(1, Hello);
        await AssertAnswer(1, StatusCode.InvalidArgument);
        Assert.Equal(0, _server.Server.ActiveStreams);
        _release.SetResult();
        await Wait.Until(() => _server.Server.RunningHandlers == 0);
        await AssertLives(); // the handler's own answer went nowhere
    }

    [Fact]
    public async Task NegativeTimeout_IsOverAtOnce()
    {
        await _peer.SendRequest(1, "Unary", Hello, timeout: -1);
        await AssertAnswer(1, StatusCode.DeadlineExceeded);
        await AssertLives();
    }

    [Fact]
    public async Task Garbage_ClosesThatConnectionOnly()
    {
        await using var bad = _server.Raw();
        await bad.SendBytes(Encoding.ASCII.GetBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        Assert.Null(await bad.TryReceive());
        await AssertLives();
        await Wait.Until(() => _server.Server.ActiveConnections == 1);
        Assert.Equal([(Microsoft.Extensions.Logging.LogLevel.Warning, 1201)], _log.Lines);
    }

    [Fact]
    public async Task RandomFrames_NeverStopTheServer()
    {
        var random = new Random(7);
        for (var round = 0; round < 20; round++)
        {
            await using var bad = _server.Raw();
            var drain = Drain(bad);
            for (var i = 0; i < 50; i++)
            {
                var data = new byte[random.Next(60)];
                random.NextBytes(data);
                await bad.Send((uint)random.Next(8), (FrameType)random.Next(6), (FrameFlags)random.Next(8), data);
            }
            await bad.DisposeAsync();
            await drain;
        }
        await AssertLives();
        await Wait.Until(() => _server.Server.ActiveConnections == 1 && _server.Server.ActiveStreams == 0);
    }

    private static async Task Drain(RawPeer peer)
    {
        while (await peer.TryReceive() is not null)
        {
        }
    }

    private async Task AssertAnswer(uint id, StatusCode code)
    {
        var frame = await _peer.Receive();
        Assert.Equal((id, FrameType.Response, (int)code), (frame.Id, frame.Type, frame.Code));
    }

    private async Task AssertLives(uint id = 101)
    {
        await _peer.SendRequest(id, "Unary", Hello);
        var frame = await _peer.Receive();
        Assert.Equal((id, FrameType.Response, FrameFlags.None), (frame.Id, frame.Type, frame.Flags));
        Assert.Equal(Hello.ToByteString(), frame.AsResponse.Payload);
        Assert.Null(frame.AsResponse.Status);
    }

    /// <summary>Found by fuzzing: an error longer than a frame may be ended the connection, or was tried again for ever.</summary>
    [Fact]
    public async Task ErrorsThatFitNoFrame_AreShortened()
    {
        await using var server = new TestServer(
            new EchoService { OnUnary = (_, _) => throw new InvalidOperationException(new string('ä', 200)) },
            new TtrpcServerOptions { MaxMessageSize = 64 });
        await using var peer = server.Raw();
        await peer.Send(1, FrameType.Request, 0, new byte[65]);
        Assert.Equal((int)StatusCode.ResourceExhausted, (await peer.Receive()).Code);
        await peer.SendRequest(3, "Unary", Hello);
        var answer = (await peer.Receive()).AsResponse.Status;
        Assert.Equal((int)StatusCode.Unknown, answer.Code);
        Assert.StartsWith("ä", answer.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void LimitThatFitsNoError_IsRefused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new TtrpcServer(new TtrpcServerOptions { MaxMessageSize = 63 }));
}

public sealed class DispatchInMemoryTests() : DispatchTests(Wire.Memory);

public sealed class DispatchOnSocketTests() : DispatchTests(Wire.Socket);

public sealed class DispatchBytewiseOnSocketTests() : DispatchTests(Wire.Crumbs);
