using System.Diagnostics;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Telemetry;

[Collection(Listening.Name)]
public sealed class SpanTests : IDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello", Number = 1 };
    private static readonly ActivitySource Callers = new("caller");

    private readonly ActivityListener _callers = new()
    {
        ShouldListenTo = source => source == Callers,
        Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
    };

    public SpanTests() => ActivitySource.AddActivityListener(_callers);

    public void Dispose()
    {
        _callers.Dispose();
        Assert.Null(Activity.Current);
    }

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task Call_HasAClientAndAServerSpan_OfTheCallersTrace(string kind)
    {
        using var spans = new Spans();
        Activity? inHandler = null;
        await using var server = new TestServer(Seeing(_ => inHandler = Activity.Current));
        await using var client = server.Client();
        using var caller = Callers.StartActivity("caller")!;
        caller.TraceStateString = "vendor=1";
        caller.AddBaggage("tenant", "a b,c");
        caller.AddBaggage("tenant2", "d");
        await Kinds.Call(new Echo.EchoClient(client), kind, Hello);
        Assert.Same(caller, Activity.Current);
        var (near, far) = (await spans.Only(ActivityKind.Client), await spans.Only(ActivityKind.Server));
        Assert.Equal((caller.TraceId, caller.SpanId), (near.TraceId, near.ParentSpanId));
        Assert.Equal((caller.TraceId, near.SpanId), (far.TraceId, far.ParentSpanId));
        Assert.True(far.HasRemoteParent);
        Assert.Equal("vendor=1", far.TraceStateString);
        Assert.Equal(["a b,c", "d"], new[] { far.GetBaggageItem("tenant"), far.GetBaggageItem("tenant2") });
        Assert.Equal(caller.Baggage.ToArray(), far.Baggage.ToArray());
        Assert.Same(far, inHandler);
        foreach (var span in new[] { near, far })
        {
            Assert.Equal($"kuasar.test.Echo/{kind}", span.DisplayName);
            Assert.Equal(
                new Dictionary<string, object?>
                {
                    ["rpc.system"] = "ttrpc", ["rpc.service"] = "kuasar.test.Echo", ["rpc.method"] = kind, ["rpc.ttrpc.status_code"] = 0,
                },
                span.TagObjects.ToDictionary());
            Assert.Equal(ActivityStatusCode.Unset, span.Status);
            Assert.Equal(TtrpcTelemetry.ActivitySourceName, span.Source.Name);
        }
        Assert.True(near.StartTimeUtc <= far.StartTimeUtc);
    }

    [Theory]
    [InlineData("Unary", StatusCode.NotFound, false)]
    [InlineData("Unary", StatusCode.Internal, true)]
    [InlineData("Down", StatusCode.Aborted, false)]
    [InlineData("Up", StatusCode.DataLoss, true)]
    [InlineData("Both", StatusCode.Unavailable, true)]
    public async Task Error_IsTheClientsAlways_TheServersWhenItIsItsOwn(string kind, StatusCode code, bool servers)
    {
        using var spans = new Spans();
        await using var server = new TestServer(Seeing(_ => throw new RpcException(new Status(code, "why"))));
        await using var client = server.Client();
        await RpcAssert.Fails(code, Kinds.Call(new Echo.EchoClient(client), kind, Hello));
        AssertFailed(await spans.Only(ActivityKind.Client), code, error: true);
        AssertFailed(await spans.Only(ActivityKind.Server), code, servers);

        static void AssertFailed(Activity span, StatusCode code, bool error)
        {
            Assert.Equal((int)code, span.GetTagItem("rpc.ttrpc.status_code"));
            Assert.Equal(error ? ActivityStatusCode.Error : ActivityStatusCode.Unset, span.Status);
            Assert.Equal(error ? "why" : null, span.StatusDescription);
            Assert.Equal(error, span.GetTagItem("error.type") is string { Length: > 0 });
        }
    }

    [Fact]
    public async Task ErrorType_IsTheCodesName()
    {
        using var spans = new Spans();
        await using var server = new TestServer(Seeing(_ => throw new RpcException(new Status(StatusCode.FailedPrecondition, ""))));
        await using var client = server.Client();
        await RpcAssert.Fails(StatusCode.FailedPrecondition, Kinds.Call(new Echo.EchoClient(client), "Unary", Hello));
        Assert.Equal("FAILED_PRECONDITION", (await spans.Only(ActivityKind.Client)).GetTagItem("error.type"));
    }

    [Fact]
    public async Task StreamsSpan_LastsAsLongAsTheStream()
    {
        using var spans = new Spans();
        await using var server = new TestServer();
        await using var client = server.Client();
        using var call = new Echo.EchoClient(client).Both();
        Assert.Null(Activity.Current);
        for (var i = 0; i < 3; i++)
        {
            await call.RequestStream.WriteAsync(Hello).Within();
            Assert.True(await call.ResponseStream.MoveNext(default).Within());
            Assert.Empty(spans.Ended);
        }
        await call.RequestStream.CompleteAsync().Within();
        Assert.False(await call.ResponseStream.MoveNext(default).Within());
        await spans.Only(ActivityKind.Client);
        await spans.Only(ActivityKind.Server);
    }

    [Fact]
    public async Task ClientSpan_EndsHoweverTheCallEnds_Once()
    {
        using var spans = new Spans();
        var time = new ManualTime();
        await using var client = new TestClient(new TtrpcClientOptions { TimeProvider = time });
        var cancelled = client.Echo.Down(Hello);
        cancelled.Dispose();
        var late = client.Echo.UnaryAsync(Hello, deadline: time.GetUtcNow().UtcDateTime.AddSeconds(1));
        time.Advance(TimeSpan.FromSeconds(1));
        await RpcAssert.Fails(StatusCode.DeadlineExceeded, late.ResponseAsync);
        await RpcAssert.Fails(
            StatusCode.InvalidArgument, client.Echo.UnaryAsync(Hello, new Metadata { { "x-bin", new byte[] { 1 } } }).ResponseAsync);
        await RpcAssert.Fails(
            StatusCode.DeadlineExceeded, client.Echo.UnaryAsync(Hello, deadline: time.GetUtcNow().UtcDateTime.AddSeconds(-1)).ResponseAsync);
        Assert.Throws<InvalidOperationException>(() => client.Echo.UnaryAsync(Hello, deadline: new DateTime(2030, 1, 1)));
        var lost = client.Echo.Up();
        await client.Peer.DisposeAsync();
        await RpcAssert.Fails(StatusCode.Unavailable, lost.ResponseAsync);
        await client.Ttrpc.DisposeAsync();
        await RpcAssert.Fails(StatusCode.Unavailable, client.Echo.UnaryAsync(Hello).ResponseAsync);
        Assert.Equal(
            [StatusCode.Cancelled, StatusCode.DeadlineExceeded, StatusCode.InvalidArgument, StatusCode.DeadlineExceeded, StatusCode.Unavailable, StatusCode.Unavailable],
            spans.Ended.Select(span => (StatusCode)span.GetTagItem("rpc.ttrpc.status_code")!));
    }

    [Fact]
    public async Task ServerSpan_EndsWhenTheReaderFailsTheStream_AndNotAgainWithTheHandler()
    {
        using var spans = new Spans();
        var handler = new TaskCompletionSource();
        await using var server = new TestServer(new EchoService { OnUnary = async (m, _) => { await handler.Task; return m; } });
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Unary", Hello);
        await peer.SendData(1, Hello);
        await peer.Receive();
        var span = await spans.Only(ActivityKind.Server);
        Assert.Equal(StatusCode.InvalidArgument, (StatusCode)span.GetTagItem("rpc.ttrpc.status_code")!);
        handler.SetResult();
        await Wait.Until(() => server.Server.RunningHandlers == 0);
        Assert.Single(spans.Ended);
    }

    [Fact]
    public async Task ServerSpan_WhenTheConnectionIsLost_Ends()
    {
        using var spans = new Spans();
        await using var server = new TestServer(new EchoService
        {
            OnDown = (_, _, context) => Task.Delay(-1, context.CancellationToken),
        });
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Down", Hello, FrameFlags.RemoteClosed);
        await Wait.Until(() => server.Server.RunningHandlers == 1);
        await peer.DisposeAsync();
        Assert.Equal(StatusCode.Cancelled, (StatusCode)(await spans.Only(ActivityKind.Server)).GetTagItem("rpc.ttrpc.status_code")!);
    }

    [Fact]
    public async Task Request_CarriesW3CHeaders_WithTheCallersOwn()
    {
        using var spans = new Spans();
        await using var client = new TestClient();
        using var caller = Callers.StartActivity("caller")!;
        caller.TraceStateString = "vendor=1";
        caller.AddBaggage("k", "v w");
        var own = new Metadata { { "own", "x" } };
        var call = client.Echo.UnaryAsync(Hello, own);
        var sent = (await client.Peer.Receive()).AsRequest.Metadata.Select(pair => (pair.Key, pair.Value)).ToArray();
        await client.Peer.Respond(1, Hello);
        await call.ResponseAsync.Within();
        var span = await spans.Only(ActivityKind.Client);
        Assert.Equal(
            [("own", "x"), ("traceparent", $"00-{span.TraceId}-{span.SpanId}-01"), ("tracestate", "vendor=1"), ("baggage", "k = v%20w")],
            sent);
        Assert.Single(own);
    }

    [Fact]
    public async Task CallersOwnTraceparent_Stands()
    {
        using var spans = new Spans();
        await using var client = new TestClient();
        var own = new Metadata { { "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } };
        _ = client.Echo.UnaryAsync(Hello, own);
        var pair = Assert.Single((await client.Peer.Receive()).AsRequest.Metadata);
        Assert.Equal("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", pair.Value);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WithoutASpanOfOurs_TheCallersContextTravels(bool listens)
    {
        using var spans = listens ? new Spans(ActivitySamplingResult.None) : null;
        await using var client = new TestClient();
        using var caller = Callers.StartActivity("caller")!;
        _ = client.Echo.Down(Hello);
        var pair = Assert.Single((await client.Peer.Receive()).AsRequest.Metadata);
        Assert.Equal(("traceparent", caller.Id), (pair.Key, pair.Value));
    }

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task CallersCurrentActivity_IsKept_EvenOneThatHasStopped(string kind)
    {
        using var spans = new Spans();
        await using var server = new TestServer();
        await using var client = server.Client();
        using var caller = Callers.StartActivity("caller")!;
        // As work has it that outlives the request that began it.
        var flow = ExecutionContext.Capture()!;
        caller.Stop();
        ExecutionContext.Restore(flow);
        Assert.Same(caller, Activity.Current);
        var call = Kinds.Call(new Echo.EchoClient(client), kind, Hello);
        Assert.Same(caller, Activity.Current);
        await call;
        Assert.Same(caller, Activity.Current);
        using (var cancelled = new Echo.EchoClient(client).Both())
        {
            cancelled.Dispose();
            Assert.Same(caller, Activity.Current);
        }
        Assert.All(spans.Ended.Where(span => span.Kind == ActivityKind.Client), span => Assert.Equal(caller.SpanId, span.ParentSpanId));
        Activity.Current = null;
    }

    [Theory]
    [InlineData("nonsense")]
    [InlineData("00-00000000000000000000000000000000-b7ad6b7169203331-01")]
    [InlineData(null)]
    public async Task WithoutAGoodParent_TheServerSpanIsARoot(string? parent)
    {
        using var spans = new Spans();
        await using var test = new TestServer();
        var (near, far) = ConnectionPair.Create();
        using (Callers.StartActivity("who starts the server"))
        {
            _ = test.Server.ServeAsync(far, default);
        }
        await using var peer = new RawPeer(near);
        await SendUnary(peer, parent is null ? [] : [("traceparent", parent)]);
        var span = await spans.Only(ActivityKind.Server);
        Assert.Null(span.ParentId);
        Assert.Null(span.Parent);
    }

    [Fact]
    public async Task ServerSpan_TakesWhatAnyClientSends()
    {
        using var spans = new Spans();
        await using var server = new TestServer();
        await using var peer = server.Raw();
        await SendUnary(
            peer, ("TraceParent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), ("tracestate", "a=1"), ("tracestate", "b=2"),
            ("baggage", "k=v%20w,l=m"));
        var span = await spans.Only(ActivityKind.Server);
        Assert.Equal("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", span.ParentId);
        Assert.Equal("a=1,b=2", span.TraceStateString);
        Assert.Equal(["v w", "m"], new[] { span.GetBaggageItem("k"), span.GetBaggageItem("l") });
    }

    [Fact]
    public async Task HandlersOwnCalls_AreChildren()
    {
        using var spans = new Spans();
        await using var back = new TestServer();
        await using var backClient = back.Client();
        await using var front = new TestServer(Seeing(_ => { }, m => Kinds.Call(new Echo.EchoClient(backClient), "Unary", m)));
        await using var client = front.Client();
        await Kinds.Call(new Echo.EchoClient(client), "Unary", Hello);
        await Wait.Until(() => spans.Ended.Length == 4);
        var chain = spans.Ended.OrderBy(span => span.StartTimeUtc).ToArray();
        Assert.Equal([ActivityKind.Client, ActivityKind.Server, ActivityKind.Client, ActivityKind.Server], chain.Select(span => span.Kind));
        Assert.Single(chain.Select(span => span.TraceId).Distinct());
        Assert.Equal(chain[..3].Select(span => span.SpanId), chain[1..].Select(span => span.ParentSpanId));
    }

    private static Task SendUnary(RawPeer peer, params (string Key, string Value)[] metadata)
    {
        var request = new Request { Service = RawPeer.Service, Method = "Unary" };
        request.Metadata.Add(metadata.Select(pair => new KeyValue { Key = pair.Key, Value = pair.Value }));
        return peer.Send(1, FrameType.Request, 0, Google.Protobuf.MessageExtensions.ToByteArray(request));
    }

    private static EchoService Seeing(Action<ServerCallContext> see, Func<EchoMessage, Task<EchoMessage>>? unary = null)
    {
        var echo = new EchoService();
        return new EchoService
        {
            OnUnary = (m, context) => { see(context); return unary is null ? echo.OnUnary(m, context) : unary(m); },
            OnDown = (m, output, context) => { see(context); return echo.OnDown(m, output, context); },
            OnUp = (input, context) => { see(context); return echo.OnUp(input, context); },
            OnBoth = (input, output, context) => { see(context); return echo.OnBoth(input, output, context); },
        };
    }
}
