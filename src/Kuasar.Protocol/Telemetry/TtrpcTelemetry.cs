using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Kuasar.Protocol;

/// <summary>
/// Where the library's spans and metrics are found: <c>AddSource(TtrpcTelemetry.ActivitySourceName)</c> and
/// <c>AddMeter(TtrpcTelemetry.MeterName)</c>. What they are is in docs/ttrpc-telemetry.md. They cost nothing while nobody listens.
/// </summary>
public static class TtrpcTelemetry
{
    /// <summary>The name of the <see cref="ActivitySource"/>.</summary>
    public const string ActivitySourceName = "Kuasar.Protocol";

    /// <summary>The name of the <see cref="System.Diagnostics.Metrics.Meter"/>.</summary>
    public const string MeterName = "Kuasar.Protocol";

    internal static readonly ActivitySource Source = new(ActivitySourceName, Version);
    internal static readonly Meter Meter = new(MeterName, Version);

    private static string? Version => typeof(TtrpcTelemetry).Assembly.GetName().Version?.ToString(3);
}
