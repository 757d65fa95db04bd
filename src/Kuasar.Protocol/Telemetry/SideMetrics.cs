using System.Diagnostics.Metrics;
using Grpc.Core;

namespace Kuasar.Protocol.Telemetry;

/// <summary>A connection that is counted while it is open.</summary>
internal interface IOpenConnection
{
    int ActiveCalls { get; }
}

/// <summary>
/// The metrics of clients or of servers. Connections and active calls are looked up when somebody asks, so that they are right
/// for whoever begins to listen late; the rest is recorded as it happens.
/// </summary>
internal sealed class SideMetrics
{
    // The convention's boundaries begin at 5 ms; most calls on a unix socket are over by then.
    private static readonly double[] Boundaries =
        [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

    private static readonly KeyValuePair<string, object?> Transmit = new("network.io.direction", "transmit");
    private static readonly KeyValuePair<string, object?> Receive = new("network.io.direction", "receive");

    private static readonly Counter<long> RefusedStreams = TtrpcTelemetry.Meter.CreateCounter<long>(
        "ttrpc.server.refused_streams", "{stream}", "Streams that the server itself ended with an error.");

    private readonly Lock _lock = new();
    private readonly HashSet<IOpenConnection> _open = [];
    private readonly Counter<long> _io;

    private SideMetrics(string side)
    {
        var meter = TtrpcTelemetry.Meter;
        Duration = meter.CreateHistogram(
            $"rpc.{side}.call.duration", "s", $"How long calls of {side}s took.", tags: null,
            new InstrumentAdvice<double> { HistogramBucketBoundaries = Boundaries });
        _io = meter.CreateCounter<long>($"ttrpc.{side}.io", "By", $"Bytes on the connections of {side}s.");
        meter.CreateObservableUpDownCounter(
            $"ttrpc.{side}.connections", CountConnections, "{connection}", $"Open connections of {side}s.");
        meter.CreateObservableUpDownCounter($"ttrpc.{side}.active_calls", CountCalls, "{call}", $"Calls of {side}s under way.");
    }

    internal static SideMetrics Client { get; } = new("client");
    internal static SideMetrics Server { get; } = new("server");

    internal Histogram<double> Duration { get; }

    internal void Opened(IOpenConnection connection)
    {
        lock (_lock)
        {
            _open.Add(connection);
        }
    }

    /// <summary>Any number of times.</summary>
    internal void Closed(IOpenConnection connection)
    {
        lock (_lock)
        {
            _open.Remove(connection);
        }
    }

    internal void Sent(long bytes)
    {
        if (_io.Enabled)
        {
            _io.Add(bytes, Transmit);
        }
    }

    internal void Received(long bytes)
    {
        if (_io.Enabled)
        {
            _io.Add(bytes, Receive);
        }
    }

    internal static void Refused(StatusCode code)
    {
        if (RefusedStreams.Enabled)
        {
            RefusedStreams.Add(1, new KeyValuePair<string, object?>(StatusLabels.CodeKey, StatusLabels.Code(code)));
        }
    }

    private int CountConnections()
    {
        lock (_lock)
        {
            return _open.Count;
        }
    }

    private int CountCalls()
    {
        lock (_lock)
        {
            return _open.Sum(connection => connection.ActiveCalls);
        }
    }
}
