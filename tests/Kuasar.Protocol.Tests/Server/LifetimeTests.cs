using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Server;

public abstract class LifetimeTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly Wire _wire;

    private protected LifetimeTests(Wire wire) => _wire = wire;

    [Fact]
    public async Task ServicesAs_BindsUnderAnotherName()
    {
        await using var server = new TestServer(wire: _wire);
        Echo.BindService(server.Server.ServicesAs("kuasar.test.v2.Echo"), new EchoService());
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Unary", Hello, service: "kuasar.test.v2.Echo");
        Assert.Equal(0, (await peer.Receive()).Code);
        Assert.Throws<InvalidOperationException>(() => Echo.BindService(server.Server.ServicesAs("x"), new EchoService()));
    }

    [Fact]
    public async Task Calls_AreConcurrent_AndBoundedPerConnection()
    {
        var release = new TaskCompletionSource();
        await using var server = new TestServer(
            new EchoService { OnUnary = async (m, _) => { await release.Task; return m; } },
            new TtrpcServerOptions { MaxConcurrentCallsPerConnection = 3 }, wire: _wire);
        await using var peer = server.Raw();
        for (uint id = 1; id <= 7; id += 2)
        {
            await peer.SendRequest(id, "Unary", Hello);
        }
        var refused = await peer.Receive();
        Assert.Equal((7u, (int)StatusCode.ResourceExhausted), (refused.Id, refused.Code));
        Assert.Equal(3, server.Server.RunningHandlers);
        await using var other = server.Raw();
        await other.SendRequest(1, "Unary", Hello);
        release.SetResult();
        Assert.Equal(0, (await other.Receive()).Code);
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(0, (await peer.Receive()).Code);
        }
    }

    [Fact]
    public async Task PeerThatDoesNotRead_IsBounded_ThenAborted_AndDelaysNobody()
    {
        var time = new ManualTime();
        var blob = new EchoMessage { Blob = ByteString.CopyFrom(new byte[100_000]) };
        await using var server = new TestServer(
            new EchoService { OnUnary = (m, _) => Task.FromResult(m.Text == "blob" ? blob : m) },
            new TtrpcServerOptions { TimeProvider = time, WriteBufferLimit = 150_000, IdleWriteTimeout = TimeSpan.FromSeconds(30) }, wire: _wire);
        await using var stuck = server.Raw();
        for (uint id = 1; id < 100; id += 2)
        {
            await stuck.SendRequest(id, "Unary", new EchoMessage { Text = "blob" });
        }
        // Two frames make it past the limit; one may already lie in the pipe. The other handlers wait with their answers.
        await Wait.Until(() => time.Armed == 1 && server.Server.RunningHandlers is >= 40 and < 50);
        await using var other = server.Raw();
        await other.SendRequest(1, "Unary", Hello);
        Assert.Equal(0, (await other.Receive()).Code);
        time.Advance(TimeSpan.FromSeconds(29));
        Assert.Equal(2, server.Server.ActiveConnections);
        time.Advance(TimeSpan.FromSeconds(1));
        await Wait.Until(() => server.Server is { ActiveConnections: 1, RunningHandlers: 0 });
        await other.SendRequest(3, "Unary", Hello);
        Assert.Equal(0, (await other.Receive()).Code);
    }

    [Fact]
    public async Task PeerThatReadsAgain_GetsEverything()
    {
        var blob = new EchoMessage { Blob = ByteString.CopyFrom(new byte[100_000]) };
        await using var server = new TestServer(
            new EchoService { OnUnary = (_, _) => Task.FromResult(blob) }, new TtrpcServerOptions { WriteBufferLimit = 150_000 }, wire: _wire);
        await using var peer = server.Raw();
        for (uint id = 1; id < 100; id += 2)
        {
            await peer.SendRequest(id, "Unary", Hello);
        }
        var seen = new HashSet<uint>();
        for (var i = 0; i < 50; i++)
        {
            var frame = await peer.Receive();
            Assert.Equal(0, frame.Code);
            Assert.True(seen.Add(frame.Id));
        }
        await Wait.Until(() => server.Server is { ActiveStreams: 0, RunningHandlers: 0 });
    }

    [Fact]
    public async Task PeerThatFloodsBadFrames_AndDoesNotRead_IsCutOff()
    {
        await using var server = new TestServer(options: new TtrpcServerOptions { WriteBufferLimit = 10_000 }, wire: _wire);
        await using var peer = server.Raw();
        var flood = RawPeer.Frame(2, FrameType.Request, 0, []);
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            while (true)
            {
                await peer.SendBytes(flood);
                if (server.Server.ActiveConnections == 0)
                {
                    throw new IOException();
                }
            }
        });
        await Wait.Until(() => server.Server.ActiveConnections == 0);
    }

    [Fact]
    public async Task Stop_WaitsForCallsAndTheirAnswers_RefusesNewOnes()
    {
        var started = new TaskCompletionSource();
        var release = new TaskCompletionSource();
        await using var server = new TestServer(new EchoService
        {
            OnUnary = async (m, _) => { started.SetResult(); await release.Task; return m; },
        }, wire: _wire);
        await using var peer = server.Raw();
        await using var idle = server.Raw();
        await peer.SendRequest(1, "Unary", Hello);
        await started.Task.Within();
        var stop = server.Server.StopAsync(Timeout.InfiniteTimeSpan);
        Assert.Null(await idle.TryReceive());
        await peer.SendRequest(3, "Unary", Hello);
        var refused = await peer.Receive();
        Assert.Equal((3u, (int)StatusCode.Unavailable), (refused.Id, refused.Code));
        Assert.False(stop.IsCompleted);
        release.SetResult();
        Assert.Equal((1u, 0), await peer.Receive() is var last ? (last.Id, last.Code) : default);
        Assert.Null(await peer.TryReceive());
        await stop.Within();
        await using var late = server.Raw();
        Assert.Null(await late.TryReceive());
    }

    [Fact]
    public async Task Stop_AfterTheDrain_Cancels()
    {
        var time = new ManualTime();
        await using var server = new TestServer(
            new EchoService { OnUnary = async (m, context) => { await Task.Delay(-1, context.CancellationToken); return m; } },
            new TtrpcServerOptions { TimeProvider = time }, wire: _wire);
        await using var client = server.Client();
        var call = new Echo.EchoClient(client).UnaryAsync(Hello);
        await Wait.Until(() => server.Server.RunningHandlers == 1);
        var stop = server.Server.StopAsync(TimeSpan.FromSeconds(5));
        time.Advance(TimeSpan.FromSeconds(5));
        await stop.Within();
        await RpcAssert.Fails(StatusCode.Unavailable, call.ResponseAsync);
    }
}

public sealed class LifetimeInMemoryTests() : LifetimeTests(Wire.Memory);

public sealed class LifetimeOnSocketTests() : LifetimeTests(Wire.Socket);
