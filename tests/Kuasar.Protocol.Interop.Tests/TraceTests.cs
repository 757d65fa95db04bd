using System.Collections.Concurrent;
using System.Diagnostics;
using Kuasar.Protocol.Interop.Tests.Protos;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>Our spans' context, as Go sees it.</summary>
public sealed class ClientTraceTests(GoToolchain go) : GoServerTest(go)
{
    [Fact]
    public async Task Context_ReachesTheGoServer_OnStreamsToo()
    {
        using var spans = new TestSpans();
        using var test = TestSpans.Source.StartActivity("test")!;
        test.TraceStateString = "vendor=1";
        test.AddBaggage("tenant", "a b");
        var sent = await TextAsync(Peer.MetaAsync(Messages.Text("traceparent")));
        Assert.Equal(Assert.Single(spans.Of(test)).Id, sent);
        Assert.Equal("vendor=1", await TextAsync(Peer.MetaAsync(Messages.Text("tracestate"))));
        Assert.Equal("tenant = a%20b", await TextAsync(Peer.MetaAsync(Messages.Text("baggage"))));
        using var stream = Peer.MetaDown(Messages.Text("traceparent"));
        Assert.True(await stream.ResponseStream.MoveNext(default).WaitAsync(Limit));
        var received = stream.ResponseStream.Current.ToText();
        Assert.False(await stream.ResponseStream.MoveNext(default).WaitAsync(Limit));
        Assert.Equal(spans.Of(test)[^1].Id, received);
    }
}

/// <summary>A Go client's context in our server's span.</summary>
public sealed class ServerTraceTests(GoToolchain go) : InteropTest(go)
{
    [Fact]
    public async Task Context_OfAGoClient_IsTheParent()
    {
        using var spans = new TestSpans();
        await using var server = new TtrpcServer();
        Peer.BindService(server.Services, new OurPeer());
        await using var source = UnixConnectionSource.Bind(SocketPath);
        var serving = server.ServeAsync(source, default);
        using var client = new Program(GoToolchain.Program, "call", SocketPath, "trace");
        Assert.True(await client.EndAsync(Limit) == 0, client.Output);
        await server.StopAsync(Limit).WaitAsync(Limit);
        await serving.WaitAsync(Limit);
        // The client may be gone before the span of its last call has ended, and nobody waits for that.
        Activity? span;
        using var limit = new CancellationTokenSource(Limit);
        while ((span = spans.All.SingleOrDefault(span => span.TraceId.ToString() == "0af7651916cd43dd8448eb211c80319c")) is null)
        {
            await Task.Delay(10, limit.Token);
        }
        Assert.Equal("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", span.ParentId);
        Assert.Equal(ActivityKind.Server, span.Kind);
        Assert.Equal("kuasar.interop.Peer/Echo", span.DisplayName);
        Assert.Equal("vendor=1,other=2", span.TraceStateString);
        Assert.Equal("a b", span.GetBaggageItem("tenant"));
    }
}

/// <summary>The spans that have ended, of all tests that run.</summary>
internal sealed class TestSpans : IDisposable
{
    private const string Name = "Kuasar.Protocol.Interop.Tests";
    internal static readonly ActivitySource Source = new(Name);

    private readonly ConcurrentQueue<Activity> _ended = new();
    private readonly ActivityListener _listener;

    internal TestSpans()
    {
        _listener = new ActivityListener
        {
            // By name: Source may be made by the question itself, and is null then.
            ShouldListenTo = source => source.Name == Name || source.Name == TtrpcTelemetry.ActivitySourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = _ended.Enqueue,
        };
        ActivitySource.AddActivityListener(_listener);
    }

    internal Activity[] All => [.. _ended];

    internal Activity[] Of(Activity parent) => [.. _ended.Where(span => span.ParentSpanId == parent.SpanId)];

    public void Dispose() => _listener.Dispose();
}
