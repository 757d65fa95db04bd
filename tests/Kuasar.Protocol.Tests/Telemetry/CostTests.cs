using Grpc.Core;
using Kuasar.Protocol.Server;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Telemetry;

/// <summary>What telemetry costs while nobody listens: nothing.</summary>
[Collection(Listening.Name)]
public sealed class CostTests
{
    private static readonly Method<EchoMessage, EchoMessage> Method = new(
        MethodType.Unary, "s", "m", Marshallers.Create(_ => [], _ => new EchoMessage()), Marshallers.Create(_ => [], _ => new EchoMessage()));

    private static readonly ServerMethod Bound = new UnaryMethod<EchoMessage, EchoMessage>(Method, "/s/m", (m, _) => Task.FromResult(m));

    [Fact]
    public void NobodyListens_NothingIsAllocated_NoClockIsAsked()
    {
        var options = new CallOptions(new Metadata { { "a", "b" } });
        var clock = new Clock();
        Hooks(clock, ref options);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            Hooks(clock, ref options);
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(0, clock.Asked);
        Assert.Single(options.Headers!);
    }

    /// <summary>So that the test above would see it.</summary>
    [Fact]
    public void SomebodyListens_ItIsSeen()
    {
        var options = default(CallOptions);
        var clock = new Clock();
        using (new Measurements("rpc.client.call.duration"))
        {
            CallTelemetry.StartClient(Method, ref options, clock)!.End(StatusCode.OK, null);
            Assert.Null(CallTelemetry.StartServer(Bound, null, clock));
            Assert.Equal(2, clock.Asked);
            Assert.Null(options.Headers);
        }
        using (new Measurements("rpc.server.call.duration"))
        {
            Assert.Null(CallTelemetry.StartClient(Method, ref options, clock));
            Assert.NotNull(CallTelemetry.StartServer(Bound, null, clock));
        }
        using (new Spans())
        {
            var asked = clock.Asked;
            CallTelemetry.StartServer(Bound, null, clock)!.End(StatusCode.OK, null);
            CallTelemetry.StartClient(Method, ref options, clock)!.End(StatusCode.OK, null);
            Assert.Equal(asked, clock.Asked);
        }
        Assert.Null(CallTelemetry.StartClient(Method, ref options, clock));
    }

    /// <summary>A whole call, both sides: spans and metrics that were listened to once leave nothing behind that costs.</summary>
    [Fact]
    public async Task Call_AllocatesTheSame_BeforeAndAfterSomebodyListened()
    {
        await using var server = new TestServer();
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        var message = new EchoMessage { Text = "hello" };
        await PerCall(500);
        var before = await PerCall(500);
        double listening;
        using (new Spans())
        using (new Measurements())
        {
            listening = await PerCall(500);
        }
        await PerCall(500);
        var after = await PerCall(500);
        // Allocations of both sides and of the runtime's own threads: not exact, but what listening costs stands out.
        Assert.True(listening > before + 1000, $"{before:f0} B before, {listening:f0} B while somebody listens");
        Assert.InRange(after, before - 200, before + 200);

        async Task<double> PerCall(int calls)
        {
            var start = GC.GetTotalAllocatedBytes(precise: true);
            for (var i = 0; i < calls; i++)
            {
                await echo.UnaryAsync(message);
            }
            return (GC.GetTotalAllocatedBytes(precise: true) - start) / (double)calls;
        }
    }

    private static void Hooks(TimeProvider clock, ref CallOptions options)
    {
        var client = CallTelemetry.StartClient(Method, ref options, clock);
        var server = CallTelemetry.StartServer(Bound, options.Headers, clock);
        server?.Enter();
        SideMetrics.Client.Sent(1);
        SideMetrics.Server.Received(1);
        SideMetrics.Refused(StatusCode.Internal);
        server?.End(StatusCode.OK, null);
        client?.End(StatusCode.OK, null);
    }

    private sealed class Clock : TimeProvider
    {
        public int Asked { get; private set; }

        public override long GetTimestamp()
        {
            Asked++;
            return base.GetTimestamp();
        }

        public override DateTimeOffset GetUtcNow()
        {
            Asked++;
            return base.GetUtcNow();
        }
    }
}
