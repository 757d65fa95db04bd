using System.Diagnostics;
using Grpc.Core;

namespace Kuasar.Protocol.Telemetry;

/// <summary>
/// Trace context in a request's metadata. The process's <see cref="DistributedContextPropagator"/> does it; its default is W3C:
/// <c>traceparent</c>, <c>tracestate</c> and <c>baggage</c>, the keys of containerd's otelttrpc.
/// </summary>
internal static class TraceContext
{
    private const string TraceParent = "traceparent";

    /// <summary>The headers with the activity's context; the caller's own are copied, and what they say stands.</summary>
    internal static Metadata? Inject(Activity activity, Metadata? headers)
    {
        if (headers?.Get(TraceParent) is not null)
        {
            return headers;
        }
        var copy = new Metadata();
        foreach (var entry in headers ?? [])
        {
            copy.Add(entry);
        }
        DistributedContextPropagator.Current.Inject(activity, copy, static (carrier, key, value) =>
        {
            if (carrier is Metadata headers && headers.Get(key) is null)
            {
                headers.Add(key, value);
            }
        });
        return copy;
    }

    /// <summary>A server span, not started: its parent is the peer's, or none. Null when it is not sampled.</summary>
    internal static Activity? Extract(MethodLabels labels, Metadata? headers)
    {
        var propagator = DistributedContextPropagator.Current;
        string? parent = null, state = null;
        if (headers is not null)
        {
            propagator.ExtractTraceIdAndState(headers, Read, out parent, out state);
        }
        ActivityContext.TryParse(parent, state, isRemote: true, out var context);
        // Without a parent the source would take the current activity, and whoever started the server is none of the call's.
        using var current = CurrentActivity.Keep();
        Activity.Current = null;
        var activity = TtrpcTelemetry.Source.CreateActivity(labels.SpanName, ActivityKind.Server, context, labels.Tags);
        if (activity is not null && headers is not null)
        {
            foreach (var (key, value) in propagator.ExtractBaggage(headers, Read) ?? [])
            {
                activity.AddBaggage(key, value);
            }
        }
        return activity;
    }

    // Several values of a key are one list, as with HTTP; two parents are none.
    private static void Read(object? carrier, string key, out string? value, out IEnumerable<string>? values)
    {
        value = null;
        values = null;
        foreach (var entry in ((Metadata)carrier!).GetAll(key))
        {
            value = value is null ? entry.Value : $"{value},{entry.Value}";
        }
    }
}
