using System.Diagnostics;
using Grpc.Core;

namespace Kuasar.Protocol.Telemetry;

/// <summary>The span and the duration of one call; there is none while nobody listens.</summary>
internal sealed class CallTelemetry
{
    private readonly Lock _lock = new();
    private readonly SideMetrics _metrics;
    private readonly MethodLabels _labels;
    private readonly TimeProvider _time;
    private readonly Activity? _activity;
    private readonly long? _started;
    private bool _ended;

    private CallTelemetry(SideMetrics metrics, MethodLabels labels, TimeProvider time, Activity? activity)
    {
        _metrics = metrics;
        _labels = labels;
        _time = time;
        _activity = activity;
        _started = metrics.Duration.Enabled ? time.GetTimestamp() : null;
    }

    /// <summary>
    /// A call begins, on its caller's thread. The context of its span goes into the headers; without a span that of the current
    /// activity, so that a trace goes on through a process that does not record our part of it.
    /// </summary>
    internal static CallTelemetry? StartClient(IMethod method, ref CallOptions options, TimeProvider time)
    {
        var ambient = Activity.Current;
        var traced = TtrpcTelemetry.Source.HasListeners();
        if (ambient is null && !traced && !SideMetrics.Client.Duration.Enabled)
        {
            return null;
        }
        var labels = MethodLabels.Of(method);
        var activity = traced ? StartSpan(labels) : null;
        if ((activity ?? ambient) is { } context)
        {
            options = TraceContext.Inject(context, options.Headers) is { } headers ? options.WithHeaders(headers) : options;
        }
        return activity is null && !SideMetrics.Client.Duration.Enabled
            ? null
            : new CallTelemetry(SideMetrics.Client, labels, time, activity);
    }

    /// <summary>A request has come, and its handler will run.</summary>
    internal static CallTelemetry? StartServer(Server.ServerMethod method, Metadata? headers, TimeProvider time)
    {
        var traced = TtrpcTelemetry.Source.HasListeners();
        if (!traced && !SideMetrics.Server.Duration.Enabled)
        {
            return null;
        }
        var labels = MethodLabels.Of(method);
        var activity = traced ? TraceContext.Extract(labels, headers) : null;
        activity?.SetStartTime(TimeProvider.System.GetUtcNow().UtcDateTime);
        return new CallTelemetry(SideMetrics.Server, labels, time, activity);
    }

    /// <summary>The handler begins, and what it does is part of the span. On its thread, in an async method of its own.</summary>
    internal void Enter()
    {
        lock (_lock)
        {
            // The reader may have failed the call before.
            if (!_ended)
            {
                _activity?.Start();
            }
        }
    }

    /// <summary>The call has ended; the first to say so counts. Any thread.</summary>
    internal void End(StatusCode code, string? message)
    {
        lock (_lock)
        {
            if (_ended)
            {
                return;
            }
            _ended = true;
        }
        var error = StatusLabels.IsError(code, server: _metrics == SideMetrics.Server) ? StatusLabels.Name(code) : null;
        if (_started is { } started)
        {
            var tags = new TagList(_labels.Tags) { { StatusLabels.CodeKey, StatusLabels.Code(code) } };
            if (error is not null)
            {
                tags.Add(StatusLabels.ErrorKey, error);
            }
            _metrics.Duration.Record(_time.GetElapsedTime(started).TotalSeconds, tags);
        }
        if (_activity is not null)
        {
            Stop(_activity, code, error, message);
        }
    }

    // What the caller does while the call goes on is no part of its span.
    private static Activity? StartSpan(MethodLabels labels)
    {
        using var current = CurrentActivity.Keep();
        return TtrpcTelemetry.Source.StartActivity(ActivityKind.Client, default, labels.Tags, name: labels.SpanName);
    }

    private static void Stop(Activity activity, StatusCode code, string? error, string? message)
    {
        using var current = CurrentActivity.Keep(); // this may be the connection's reader, or whoever cancels the call
        if (activity.Id is null)
        {
            activity.Start(); // it failed before its handler began
        }
        activity.SetTag(StatusLabels.CodeKey, StatusLabels.Code(code));
        if (error is not null)
        {
            activity.SetTag(StatusLabels.ErrorKey, error);
            activity.SetStatus(ActivityStatusCode.Error, message);
        }
        activity.Stop();
    }
}
