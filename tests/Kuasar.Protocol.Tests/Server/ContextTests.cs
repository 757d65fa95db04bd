using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;
using Google.Protobuf;
using Kuasar.Protocol.Framing;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Tests.Server;

public sealed class ContextTestsOverPipes() : ContextTests(Over.Pipes);

public sealed class ContextTestsOverSockets() : ContextTests(Over.Sockets);

public abstract class ContextTests(Over over)
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };

    [Fact]
    public async Task Context_IsComplete()
    {
        ServerCallContext? seen = null;
        Metadata? headers = null;
        await using var server = new TestServer(over, new EchoService
        {
            OnUnary = async (m, context) =>
            {
                seen = context;
                headers = context.RequestHeaders;
                context.UserState["k"] = 1;
                context.ResponseTrailers.Add("dropped", "x");
                await context.WriteResponseHeadersAsync([]);
                return m;
            },
        });
        await using var client = server.Client();
        var deadline = DateTime.UtcNow.AddMinutes(1);
        await new Echo.EchoClient(client).UnaryAsync(Hello, new Metadata { { "a", "1" }, { "a", "2" } }, deadline).ResponseAsync.Within();
        Assert.Equal("/kuasar.test.Echo/Unary", seen!.Method);
        Assert.Equal([("a", "1"), ("a", "2")], headers!.Select(h => (h.Key, h.Value)));
        Assert.Equal(deadline, seen.Deadline, TimeSpan.FromSeconds(20));
        Assert.False(seen.AuthContext.IsPeerAuthenticated);
        Assert.StartsWith(over == Over.Pipes ? "unknown" : $"unix:pid={Environment.ProcessId},", seen.Peer, StringComparison.Ordinal);
        Assert.Equal("", seen.Host);
        Assert.Equal("/test", seen.GetConnection().LocalAddress);
        Assert.Equal(1, seen.UserState["k"]);
    }

    [Fact]
    public async Task Exceptions_BecomeStatuses()
    {
        var rich = new RpcStatus { Code = 5, Message = "m", Details = { Any.Pack(Hello) } };
        await using var server = new TestServer(over,
            new EchoService
            {
                OnUnary = (m, context) =>
                {
                    context.Status = m.Text == "status" ? new Status(StatusCode.DataLoss, "lost") : Status.DefaultSuccess;
                    return m.Text switch
                    {
                        "rpc" => throw new RpcException(new Status(StatusCode.NotFound, "m"),
                            new Metadata { { "grpc-status-details-bin", rich.ToByteArray() } }),
                        "plain" => throw new InvalidOperationException("plain message"),
                        "mapped" => throw new FileNotFoundException("f"),
                        "mapper" => throw new DivideByZeroException("d"),
                        "cancelled" => throw new OperationCanceledException(),
                        "null" => Task.FromResult<EchoMessage>(null!),
                        "huge" => throw new InvalidOperationException(new string('x', 5 << 20)),
                        _ => Task.FromResult(m),
                    };
                },
            },
            new TtrpcServerOptions
            {
                ErrorMapper = e => e switch
                {
                    FileNotFoundException => new Status(StatusCode.NotFound, e.Message),
                    DivideByZeroException => throw new InvalidOperationException("the mapper fails too"),
                    _ => null,
                },
            });
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        async Task<RpcException> Fails(string text, StatusCode code) =>
            await RpcAssert.Fails(code, echo.UnaryAsync(new EchoMessage { Text = text }).ResponseAsync);

        var error = await Fails("rpc", StatusCode.NotFound);
        Assert.Equal(rich, RpcStatus.Parser.ParseFrom(error.Trailers.GetValueBytes("grpc-status-details-bin")));
        Assert.Equal("plain message", (await Fails("plain", StatusCode.Unknown)).Status.Detail);
        await Fails("mapped", StatusCode.NotFound);
        await Fails("mapper", StatusCode.Unknown);
        await Fails("cancelled", StatusCode.Cancelled);
        await Fails("null", StatusCode.Internal);
        await Fails("huge", StatusCode.Unknown);
        Assert.Equal("lost", (await Fails("status", StatusCode.DataLoss)).Status.Detail);
        await Wait.Until(() => server.Server.ActiveStreams == 0);
    }

    [Fact]
    public async Task Deadline_CancelsTheHandler()
    {
        var time = new ManualTime();
        await using var server = new TestServer(over,
            new EchoService
            {
                OnUnary = async (m, context) => { await Task.Delay(-1, context.CancellationToken); return m; },
                OnUp = async (input, _) => { await input.MoveNext(default); return Hello; },
            },
            new TtrpcServerOptions { TimeProvider = time });
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Unary", Hello, timeout: 1_000_000_000);
        await peer.SendRequest(3, "Up", null, FrameFlags.OpenStream, timeout: 1_000_000_000);
        await Wait.Until(() => server.Server is { RunningHandlers: 2, ActiveStreams: 2 });
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal((int)StatusCode.DeadlineExceeded, (await peer.Receive()).Code);
        Assert.Equal((int)StatusCode.DeadlineExceeded, (await peer.Receive()).Code);
        await Wait.Until(() => server.Server is { ActiveStreams: 0, RunningHandlers: 0 });
        Assert.Equal(0, time.Armed);
    }

    [Theory]
    [InlineData("Unary", 0)]
    [InlineData("Both", 6)]
    public async Task ConnectionGone_CancelsItsHandlers(string method, int flags)
    {
        var started = new TaskCompletionSource();
        var cancelled = new TaskCompletionSource();
        async Task Hang(ServerCallContext context)
        {
            using var registration = context.CancellationToken.Register(cancelled.SetResult);
            started.SetResult();
            await cancelled.Task;
        }
        await using var server = new TestServer(over, new EchoService
        {
            OnUnary = async (m, context) => { await Hang(context); return m; },
            OnBoth = (_, _, context) => Hang(context),
        });
        await using var peer = server.Raw();
        await peer.SendRequest(1, method, flags == 0 ? Hello : null, (FrameFlags)flags);
        await started.Task.Within();
        await peer.DisposeAsync();
        await cancelled.Task.Within();
        await Wait.Until(() => server.Server.ActiveConnections == 0);
    }
}
