using System.Diagnostics.Metrics;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Telemetry;

[Collection(Listening.Name)]
public sealed class MetricTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello", Number = 1 };

    [Fact]
    public void Instruments_AreThoseOfTheDocument()
    {
        using var measurements = new Measurements();
        var page = File.ReadAllText(Repository.Path("docs/ttrpc-telemetry.md")).Split("## Metrics")[1];
        var document = page.Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal))
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
            .SelectMany(cells => cells[1].Split(", ").Select(name => (name.Trim('`'), cells[2], cells[3].Trim('`'))))
            .Order().ToArray();
        var instruments = measurements.Instruments
            .Select(instrument => (instrument.Name, KindOf(instrument), instrument.Unit ?? "")).Order().ToArray();
        Assert.Equal(instruments, document);
    }

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task Duration_OfBothSides_WithMethodAndStatus(string kind)
    {
        using var measurements = new Measurements();
        await using var server = new TestServer(new EchoService
        {
            OnUp = (_, _) => throw new RpcException(new Status(StatusCode.Internal, "")),
        });
        await using var client = server.Client();
        var code = kind == "Up" ? StatusCode.Internal : StatusCode.OK;
        var start = TimeProvider.System.GetTimestamp();
        try
        {
            await Kinds.Call(new Echo.EchoClient(client), kind, Hello);
        }
        catch (RpcException error) when (error.StatusCode == code)
        {
        }
        await Wait.Until(() => measurements.Of("rpc.server.call.duration").Length == 1);
        var elapsed = TimeProvider.System.GetElapsedTime(start).TotalSeconds;
        foreach (var side in new[] { "client", "server" })
        {
            var measurement = Assert.Single(measurements.Of($"rpc.{side}.call.duration"));
            var tags = new Dictionary<string, object?>
            {
                ["rpc.system"] = "ttrpc", ["rpc.service"] = "kuasar.test.Echo", ["rpc.method"] = kind, ["rpc.ttrpc.status_code"] = (int)code,
            };
            if (code != StatusCode.OK)
            {
                tags["error.type"] = "INTERNAL";
            }
            Assert.Equal(tags, measurement.Tags);
            Assert.InRange(measurement.Value, 0, elapsed);
        }
    }

    [Fact]
    public async Task Io_IsEveryByteOfTheConnection()
    {
        using var measurements = new Measurements();
        await using var server = new TestServer();
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Down", Hello, FrameFlags.RemoteClosed);
        var answered = 0;
        RawFrame frame;
        do
        {
            frame = await peer.Receive();
            answered += FrameHeader.Size + frame.Data.Length;
        }
        while (frame.Flags != FrameFlags.EndStream);
        var request = new Request
        {
            Service = RawPeer.Service, Method = "Down", Payload = Google.Protobuf.MessageExtensions.ToByteString(Hello),
        };
        Assert.Equal(FrameHeader.Size + request.CalculateSize(), Io("receive"));
        Assert.Equal(answered, Io("transmit"));

        await using var client = new TestClient();
        var call = client.Echo.UnaryAsync(Hello);
        var sent = await client.Peer.Receive();
        await client.Peer.Respond(1, Hello);
        await call.ResponseAsync.Within();
        Assert.Equal(FrameHeader.Size + sent.Data.Length, Sum("ttrpc.client.io", "transmit"));
        Assert.Equal(FrameHeader.Size + new Response { Payload = request.Payload }.CalculateSize(), Sum("ttrpc.client.io", "receive"));

        double Io(string direction) => Sum("ttrpc.server.io", direction);
        double Sum(string name, string direction) => measurements.Of(name)
            .Where(measurement => (string)measurement.Tags["network.io.direction"]! == direction).Sum(measurement => measurement.Value);
    }

    [Fact]
    public async Task RefusedStreams_ByStatus()
    {
        using var measurements = new Measurements();
        await using var server = new TestServer();
        await using var peer = server.Raw();
        await peer.SendRequest(1, "NoSuchMethod");
        await peer.SendRequest(2, "Unary");
        await peer.SendData(99, Hello);
        await peer.Receive();
        await peer.Receive();
        await peer.Receive();
        Assert.Equal(
            [StatusCode.Unimplemented, StatusCode.InvalidArgument, StatusCode.InvalidArgument],
            measurements.Of("ttrpc.server.refused_streams").Select(measurement => (StatusCode)measurement.Tags["rpc.ttrpc.status_code"]!));
    }

    [Fact]
    public async Task ConnectionsAndActiveCalls_AreRightForALateListener()
    {
        using var before = new Measurements();
        var (servers, clients) = (before.Observe("ttrpc.server.connections"), before.Observe("ttrpc.client.connections"));
        var release = new TaskCompletionSource();
        await using var server = new TestServer(new EchoService { OnUnary = async (m, _) => { await release.Task; return m; } });
        var client = server.Client();
        var calls = Enumerable.Range(0, 3).Select(_ => new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync).ToArray();
        await Wait.Until(() => server.Server.RunningHandlers == 3);
        using var late = new Measurements();
        Assert.Equal(1, late.Observe("ttrpc.server.connections") - servers);
        Assert.Equal(1, late.Observe("ttrpc.client.connections") - clients);
        Assert.Equal(3, late.Observe("ttrpc.server.active_calls"));
        Assert.Equal(3, late.Observe("ttrpc.client.active_calls"));
        release.SetResult();
        await Task.WhenAll(calls).Within();
        await Wait.Until(() => late.Observe("ttrpc.server.active_calls") == 0);
        Assert.Equal(0, late.Observe("ttrpc.client.active_calls"));
        await client.DisposeAsync();
        await Wait.Until(() => late.Observe("ttrpc.server.connections") == servers);
        Assert.Equal(clients, late.Observe("ttrpc.client.connections"));
    }

    private static string KindOf(Instrument instrument) => instrument switch
    {
        Histogram<double> => "histogram",
        Counter<long> => "counter",
        ObservableUpDownCounter<int> => "up-down counter",
        _ => instrument.GetType().Name,
    };
}
