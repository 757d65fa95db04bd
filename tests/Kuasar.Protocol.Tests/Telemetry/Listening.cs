using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Telemetry;

/// <summary>Sources and meters are the process's: whoever listens to them runs alone.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Listening
{
    public const string Name = "Listening";
}

/// <summary>Keeps the spans that end.</summary>
internal sealed class Spans : IDisposable
{
    private readonly ActivityListener _listener;
    private readonly ConcurrentQueue<Activity> _ended = new();

    public Spans(ActivitySamplingResult sample = ActivitySamplingResult.AllDataAndRecorded)
    {
        _listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == TtrpcTelemetry.ActivitySourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => sample,
            ActivityStopped = _ended.Enqueue,
        };
        ActivitySource.AddActivityListener(_listener);
    }

    public Activity[] Ended => [.. _ended];

    /// <summary>The only one of its kind, once it has ended.</summary>
    public async Task<Activity> Only(ActivityKind kind)
    {
        await Wait.Until(() => _ended.Any(span => span.Kind == kind));
        return Assert.Single(_ended, span => span.Kind == kind);
    }

    public void Dispose() => _listener.Dispose();
}

internal sealed record Measurement(string Name, double Value, Dictionary<string, object?> Tags);

/// <summary>Keeps what is measured.</summary>
internal sealed class Measurements : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly ConcurrentQueue<Measurement> _all = new();

    /// <param name="name">Listens to this instrument only; null to all of the library.</param>
    public Measurements(string? name = null)
    {
        _ = SideMetrics.Client; // there are no instruments before the first use
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name == TtrpcTelemetry.MeterName && (name is null || instrument.Name == name))
            {
                Instruments.Add(instrument);
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Keep(instrument, value, tags));
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Keep(instrument, value, tags));
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Keep(instrument, value, tags));
        _listener.Start();
    }

    public List<Instrument> Instruments { get; } = [];

    public Measurement[] Of(string name) => [.. _all.Where(measurement => measurement.Name == name)];

    /// <summary>What an observable instrument says now.</summary>
    public double Observe(string name)
    {
        _all.Clear();
        _listener.RecordObservableInstruments();
        return Assert.Single(Of(name)).Value;
    }

    public void Dispose() => _listener.Dispose();

    private void Keep(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        _all.Enqueue(new Measurement(instrument.Name, value, tags.ToArray().ToDictionary()));
}
