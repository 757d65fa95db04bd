using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Server;

/// <summary>What peers in the field send, or might; each test ends with a call that shows the connection lives.</summary>
public abstract class ProtocolFactTests : IAsyncDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly TaskCompletionSource _release = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TestServer _server;
    private readonly RawPeer _peer;
    private DateTime _deadline;
    private Metadata _headers = [];

    private protected ProtocolFactTests(Wire wire)
    {
        var service = new EchoService
        {
            OnUnary = async (m, context) =>
            {
                (_deadline, _headers) = (context.Deadline, context.RequestHeaders);
                if (m.Text == "wait")
                {
                    await _release.Task;
                }
                return m;
            },
            OnDown = (m, output, context) =>
            {
                (_deadline, _headers) = (context.Deadline, context.RequestHeaders);
                return output.WriteAsync(m);
            },
            OnUp = async (input, context) =>
            {
                (_deadline, _headers) = (context.Deadline, context.RequestHeaders);
                var texts = new List<string>();
                while (await input.MoveNext(default))
                {
                    texts.Add(input.Current.Text);
                }
                return new EchoMessage { Text = string.Join(' ', texts), Number = texts.Count };
            },
        };
        _server = new TestServer(service, wire: wire);
        _peer = _server.Raw();
    }

    public async ValueTask DisposeAsync()
    {
        _release.TrySetResult();
        await _peer.DisposeAsync();
        await _server.DisposeAsync();
    }

    /// <summary>Go ignores the flags of a request; who sets odd ones is served all the same.</summary>
    [Theory]
    [InlineData(0x01)]
    [InlineData(0x02)]
    [InlineData(0x06)]
    [InlineData(0xFF)]
    public async Task Unary_WithAnyFlags_IsAnswered(int flags)
    {
        await _peer.SendRequest(1, "Unary", Hello, (FrameFlags)flags);
        Assert.Equal((FrameType.Response, 0), await _peer.Receive() is var answer ? (answer.Type, answer.Code) : default);
        await AssertLives();
    }

    [Fact]
    public async Task ClientStream_OpenedAndClosedByItsRequest_HasNoMessages()
    {
        await _peer.SendRequest(1, "Up", null, FrameFlags.RemoteClosed);
        Assert.Equal(new EchoMessage().ToByteString(), (await _peer.Receive()).AsResponse.Payload);
        await AssertLives();
    }

    [Theory]
    [InlineData(0x00)]
    [InlineData(0x02)]
    [InlineData(0x06)]
    public async Task ServerStream_WithAnotherOpening_Runs_AndItsLateEndIsHarmless(int flags)
    {
        await _peer.SendRequest(1, "Down", Hello, (FrameFlags)flags);
        await _peer.SendEnd(1);
        Assert.Equal(Hello, (await _peer.Receive()).AsMessage);
        Assert.Equal(FrameFlags.EndStream, (await _peer.Receive()).Flags);
        await AssertLives();
    }

    /// <summary>containerd/ttrpc#126: Go's server waited for a message that never came.</summary>
    [Fact]
    public async Task ServerStream_EmptyRequest_Runs()
    {
        await _peer.SendRequest(1, "Down", null, FrameFlags.RemoteClosed);
        Assert.Equal((FrameType.Data, 0), await _peer.Receive() is var message ? (message.Type, message.Data.Length) : default);
        Assert.Equal(FrameFlags.EndStream, (await _peer.Receive()).Flags);
        await AssertLives();
    }

    /// <summary>What containerd/ttrpc#203 proposes as ping and pong, and what nobody does.</summary>
    [Theory]
    [InlineData(0x04)]
    [InlineData(0x05)]
    [InlineData(0x80)]
    public async Task UnknownType_OnALiveStream_LeavesItAlone(int type)
    {
        await _peer.SendRequest(1, "Up", null, FrameFlags.OpenStream);
        await _peer.Send(1, (FrameType)type, FrameFlags.EndStream, [1, 2, 3]);
        await _peer.SendData(1, Hello);
        await _peer.SendEnd(1);
        Assert.Equal(1, EchoMessage.Parser.ParseFrom((await _peer.Receive()).AsResponse.Payload).Number);
        await AssertLives();
    }

    [Theory]
    [InlineData(0x02)]
    [InlineData(0x09)]
    public async Task Oversize_OfATypeThatIsIgnored_IsThrownAway(int type)
    {
        await _peer.Send(1, (FrameType)type, 0, new byte[(4 << 20) + 1]);
        await AssertLives();
    }

    /// <summary>R#198: what follows an oversize frame was read as a header.</summary>
    [Fact]
    public async Task Oversize_OneAfterTheOther_KeepsStep()
    {
        for (uint id = 1; id <= 9; id += 2)
        {
            await _peer.Send(id, FrameType.Request, 0, new byte[(4 << 20) + (int)id]);
            await AssertAnswer(id, StatusCode.ResourceExhausted);
        }
        await AssertLives();
    }

    [Fact]
    public async Task OversizeData_OfAUnaryStream_FailsItOnce()
    {
        await _peer.SendRequest(1, "Unary", new EchoMessage { Text = "wait" });
        await _peer.Send(1, FrameType.Data, 0, new byte[(4 << 20) + 1]);
        await AssertAnswer(1, StatusCode.ResourceExhausted);
        _release.SetResult();
        await Wait.Until(() => _server.Server.RunningHandlers == 0);
        await AssertLives();
    }

    /// <summary>The failed call's entry is gone while its handler runs on; its end must not take the next one's away.</summary>
    [Fact]
    public async Task Id_OfAFailedStream_MayComeAgain_WhileItsHandlerRuns()
    {
        await _peer.SendRequest(1, "Unary", new EchoMessage { Text = "wait" });
        await _peer.SendData(1, Hello);
        await AssertAnswer(1, StatusCode.InvalidArgument);
        await _peer.SendRequest(1, "Up", null, FrameFlags.OpenStream);
        await Wait.Until(() => _server.Server is { RunningHandlers: 2, ActiveStreams: 1 });
        _release.SetResult();
        await Wait.Until(() => _server.Server is { RunningHandlers: 1, ActiveStreams: 1 });
        await _peer.SendData(1, Hello);
        await _peer.SendEnd(1);
        await AssertAnswer(1, StatusCode.OK);
        await AssertLives();
    }

    [Theory]
    [InlineData("Unary", 0)]
    [InlineData("Down", 1)]
    [InlineData("Up", 6)]
    public async Task MetadataAndTimeout_OfEveryKind_ReachTheHandler(string method, int flags)
    {
        var request = new Request { Service = RawPeer.Service, Method = method, TimeoutNano = 60_000_000_000 };
        request.Metadata.Add(new KeyValue { Key = "Upper-Case", Value = "1" });
        request.Metadata.Add(new KeyValue { Key = "other", Value = "ü" });
        request.Metadata.Add(new KeyValue { Key = "upper-case", Value = "2" });
        await _peer.Send(1, FrameType.Request, (FrameFlags)flags, request.ToByteArray());
        await _peer.SendEnd(method == "Up" ? 1u : 99u);
        await Wait.Until(() => _headers.Count > 0);
        Assert.Equal([("upper-case", "1"), ("other", "ü"), ("upper-case", "2")], _headers.Select(h => (h.Key, h.Value)));
        Assert.InRange(_deadline, DateTime.UtcNow.AddSeconds(20), DateTime.UtcNow.AddSeconds(61));
    }

    [Theory]
    [InlineData(1, StatusCode.OK)]
    [InlineData(long.MaxValue, StatusCode.OK)]
    [InlineData(long.MinValue, StatusCode.DeadlineExceeded)]
    public async Task Timeout_AtItsEdges(long timeout, StatusCode code)
    {
        // A handler that does not look at its token answers late, and its answer goes out: as Go has it.
        await _peer.SendRequest(1, "Unary", Hello, timeout: timeout);
        await AssertAnswer(1, code);
        await AssertLives();
    }

    /// <summary>R#311 and what Rust's task per frame brings about: data of one stream overtook each other.</summary>
    [Fact]
    public async Task Data_BackToBack_StaysInOrder()
    {
        const int count = 2000;
        await _peer.SendRequest(1, "Up", null, FrameFlags.OpenStream);
        using var frames = new MemoryStream();
        for (var i = 0; i < count; i++)
        {
            var text = i.ToString(System.Globalization.CultureInfo.InvariantCulture);
            frames.Write(RawPeer.Frame(1, FrameType.Data, 0, new EchoMessage { Text = text }.ToByteArray()));
        }
        frames.Write(RawPeer.Frame(1, FrameType.Data, FrameFlags.EndStream, []));
        await _peer.SendBytes(frames.ToArray());
        var got = EchoMessage.Parser.ParseFrom((await _peer.Receive()).AsResponse.Payload);
        Assert.Equal(string.Join(' ', Enumerable.Range(0, count)), got.Text);
        await AssertLives();
    }

    [Fact]
    public async Task Concurrent_ManyCallsInOneWrite_AreAllAnsweredOnce()
    {
        const int count = 500;
        using var frames = new MemoryStream();
        for (uint i = 0; i < count; i++)
        {
            // As Rust's concurrent calls arrive: in any order.
            var id = (2 * ((i * 37) % count)) + 1;
            var request = new Request { Service = RawPeer.Service, Method = "Unary", Payload = new EchoMessage { Number = (int)id }.ToByteString() };
            frames.Write(RawPeer.Frame(id, FrameType.Request, 0, request.ToByteArray()));
        }
        await _peer.SendBytes(frames.ToArray());
        var seen = new HashSet<uint>();
        for (var i = 0; i < count; i++)
        {
            var frame = await _peer.Receive();
            Assert.Equal(frame.Id, (uint)EchoMessage.Parser.ParseFrom(frame.AsResponse.Payload).Number);
            Assert.True(seen.Add(frame.Id));
        }
        await AssertLives();
    }

    [Theory]
    [InlineData(3)]
    [InlineData(12)]
    public async Task PeerThatClosesWithinAFrame_EndsThatConnectionOnly(int bytes)
    {
        await using var other = _server.Raw();
        await other.SendBytes(RawPeer.Frame(1, FrameType.Request, 0, new byte[100]).AsMemory(0, bytes));
        await other.DisposeAsync();
        await Wait.Until(() => _server.Server.ActiveConnections == 1);
        await AssertLives();
    }

    private async Task AssertAnswer(uint id, StatusCode code)
    {
        var frame = await _peer.Receive();
        Assert.Equal((id, FrameType.Response, (int)code), (frame.Id, frame.Type, frame.Code));
    }

    private async Task AssertLives()
    {
        await _peer.SendRequest(1001, "Unary", Hello);
        await AssertAnswer(1001, StatusCode.OK);
        await Wait.Until(() => _server.Server is { ActiveStreams: 0, RunningHandlers: 0 });
    }
}

public sealed class ProtocolFactInMemoryTests() : ProtocolFactTests(Wire.Memory);

public sealed class ProtocolFactOnSocketTests() : ProtocolFactTests(Wire.Socket);

public sealed class ProtocolFactBytewiseOnSocketTests() : ProtocolFactTests(Wire.Crumbs);
