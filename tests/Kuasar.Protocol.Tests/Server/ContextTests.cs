using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;
using Google.Protobuf;
using Kuasar.Protocol.Framing;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Tests.Server;

public abstract class ContextTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly Wire _wire;

    private protected ContextTests(Wire wire) => _wire = wire;

    private string Peer => _wire == Wire.Memory ? "unknown" : $"unix:pid={Environment.ProcessId},";

    [Fact]
    public async Task Context_IsComplete()
    {
        ServerCallContext? seen = null;
        Metadata? headers = null;
        await using var server = new TestServer(new EchoService
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
        }, wire: _wire);
        await using var client = server.Client();
        var deadline = DateTime.UtcNow.AddMinutes(1);
        await new Echo.EchoClient(client).UnaryAsync(Hello, new Metadata { { "a", "1" }, { "a", "2" } }, deadline).ResponseAsync.Within();
        Assert.Equal("/kuasar.test.Echo/Unary", seen!.Method);
        Assert.Equal([("a", "1"), ("a", "2")], headers!.Select(h => (h.Key, h.Value)));
        Assert.Equal(deadline, seen.Deadline, TimeSpan.FromSeconds(20));
        Assert.Equal(_wire == Wire.Socket, seen.AuthContext.IsPeerAuthenticated);
        Assert.StartsWith(Peer, seen.Peer, StringComparison.Ordinal);
        Assert.Equal("", seen.Host);
        Assert.Equal("/test", seen.GetConnection().LocalAddress);
        Assert.Equal(1, seen.UserState["k"]);
    }

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task Context_OfEveryKind_HasWhatTheRequestSays(string kind)
    {
        var seen = new List<object?>();
        void See(ServerCallContext context) => seen.AddRange(
        [
            context.Method, context.RequestHeaders.GetValue("a"), context.Deadline, context.CancellationToken.CanBeCanceled,
            context.CancellationToken.IsCancellationRequested, context.UserState.Count, context.Status.StatusCode, context.Peer.StartsWith(Peer, StringComparison.Ordinal), context.Host,
            ReferenceEquals(context.UserState, context.UserState), ReferenceEquals(context.RequestHeaders, context.RequestHeaders),
        ]);
        var echo = new EchoService();
        await using var server = new TestServer(new EchoService
        {
            OnUnary = (m, context) => { See(context); return echo.OnUnary(m, context); },
            OnDown = (m, output, context) => { See(context); return echo.OnDown(m, output, context); },
            OnUp = (input, context) => { See(context); return echo.OnUp(input, context); },
            OnBoth = (input, output, context) => { See(context); return echo.OnBoth(input, output, context); },
        }, wire: _wire);
        await using var client = server.Client();
        var call = new CallOptions(new Metadata { { "A", "1" } });
        await Kinds.Call(new Echo.EchoClient(client), kind, new EchoMessage { Number = 1 }, call);
        Assert.Equal(
            [$"/kuasar.test.Echo/{kind}", "1", DateTime.MaxValue, true, false, 0, StatusCode.OK, true, "", true, true], seen);
        seen.Clear();
        var deadline = DateTime.UtcNow.AddMinutes(1);
        await Kinds.Call(new Echo.EchoClient(client), kind, new EchoMessage { Number = 1 }, call.WithDeadline(deadline));
        var received = Assert.IsType<DateTime>(seen[2]);
        Assert.Equal(DateTimeKind.Utc, received.Kind);
        Assert.Equal(deadline, received, TimeSpan.FromSeconds(20));
    }

    [Theory]
    [InlineData("Up")]
    [InlineData("Both")]
    [InlineData("Down")]
    public async Task Status_SetByAStreamsHandler_IsTheCalls(string kind)
    {
        static void Set(ServerCallContext context) => context.Status = new Status(StatusCode.DataLoss, "lost");
        await using var server = new TestServer(new EchoService
        {
            OnDown = (_, _, context) => { Set(context); return Task.CompletedTask; },
            OnUp = (_, context) => { Set(context); return Task.FromResult(Hello); },
            OnBoth = (_, _, context) => { Set(context); return Task.CompletedTask; },
        }, wire: _wire);
        await using var client = server.Client();
        var error = await RpcAssert.Fails(StatusCode.DataLoss, Kinds.Call(new Echo.EchoClient(client), kind, Hello));
        Assert.Equal("lost", error.Status.Detail);
    }

    [Fact]
    public async Task WhatTtrpcDoesNotHave_IsTakenAndDropped_OrRefused()
    {
        await using var server = new TestServer(new EchoService
        {
            OnDown = async (m, output, context) =>
            {
                await context.WriteResponseHeadersAsync(new Metadata { { "dropped", "x" } });
                context.ResponseTrailers.Add("dropped", "x");
                context.WriteOptions = new WriteOptions(WriteFlags.NoCompress);
                output.WriteOptions = context.WriteOptions;
                Assert.Throws<NotSupportedException>(() => context.CreatePropagationToken());
                await output.WriteAsync(m);
            },
        }, wire: _wire);
        await using var client = server.Client();
        using var call = new Echo.EchoClient(client).Down(Hello);
        Assert.True(await call.ResponseStream.MoveNext(default).Within());
        Assert.Equal(Hello, call.ResponseStream.Current);
        Assert.False(await call.ResponseStream.MoveNext(default).Within());
        Assert.Empty(await call.ResponseHeadersAsync);
        Assert.Empty(call.GetTrailers());
    }

    [Fact]
    public async Task Exceptions_BecomeStatuses()
    {
        var rich = new RpcStatus { Code = 5, Message = "m", Details = { Any.Pack(Hello) } };
        await using var server = new TestServer(
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
            }, wire: _wire);
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
        await using var server = new TestServer(
            new EchoService
            {
                OnUnary = async (m, context) => { await Task.Delay(-1, context.CancellationToken); return m; },
                OnUp = async (input, _) => { await input.MoveNext(default); return Hello; },
            },
            new TtrpcServerOptions { TimeProvider = time }, wire: _wire);
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

    /// <summary>A timer's callback may be on its way when the timer goes; and what handlers register may throw.</summary>
    [Theory]
    [InlineData("a callback that comes late")]
    [InlineData("a registration that throws")]
    public async Task Cancellation_GoneWrong_IsNobodysException(string how)
    {
        const string mark = "the test's own exception";
        var (late, throws) = (new LateTime(), how.Contains("throws", StringComparison.Ordinal));
        var unobserved = new List<Exception>();
        void Collect(object? sender, UnobservedTaskExceptionEventArgs e) =>
            unobserved.AddRange(e.Exception.Flatten().InnerExceptions.Where(error => error is ObjectDisposedException || error.Message == mark));
        TaskScheduler.UnobservedTaskException += Collect;
        try
        {
            await using (var server = new TestServer(
                new EchoService
                {
                    OnUnary = async (m, context) =>
                    {
                        if (throws)
                        {
                            context.CancellationToken.Register(() => throw new InvalidOperationException(mark));
                            await Task.Delay(-1, context.CancellationToken);
                        }
                        return m;
                    },
                },
                new TtrpcServerOptions { TimeProvider = late }, wire: _wire))
            {
                await using var peer = server.Raw();
                await peer.SendRequest(1, "Unary", Hello, timeout: 1_000_000_000);
                await Wait.Until(() => late.IsSet && (throws || server.Server.RunningHandlers == 0));
                late.Fire();
                Assert.Equal(throws ? (int)StatusCode.DeadlineExceeded : 0, (await peer.Receive()).Code);
            }
            for (var i = 0; i < 10; i++)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                await Task.Delay(1);
            }
            Assert.Empty(unobserved);
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Collect;
        }
    }

    /// <summary>Its timers fire when told, disposed or not.</summary>
    private sealed class LateTime : TimeProvider
    {
        private Action? _last;
        private long _ahead;

        public bool IsSet => _last is not null;

        public override long GetTimestamp() => base.GetTimestamp() + Volatile.Read(ref _ahead);

        public void Fire()
        {
            Volatile.Write(ref _ahead, 3600 * TimestampFrequency);
            _last!();
        }

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            _last = () => callback(state);
            return base.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
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
        await using var server = new TestServer(new EchoService
        {
            OnUnary = async (m, context) => { await Hang(context); return m; },
            OnBoth = (_, _, context) => Hang(context),
        }, wire: _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, method, flags == 0 ? Hello : null, (FrameFlags)flags);
        await started.Task.Within();
        await peer.DisposeAsync();
        await cancelled.Task.Within();
        await Wait.Until(() => server.Server.ActiveConnections == 0);
    }
}

public sealed class ContextInMemoryTests() : ContextTests(Wire.Memory);

public sealed class ContextOnSocketTests() : ContextTests(Wire.Socket);
