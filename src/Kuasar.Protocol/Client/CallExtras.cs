using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;

namespace Kuasar.Protocol.Client;

/// <summary>What only some calls have: headers, a deadline, a token, a listener.</summary>
internal sealed class CallExtras : DeadlineEntry
{
    private readonly ClientCall _call;
    private readonly CallTelemetry? _telemetry;
    private CancellationTokenRegistration _cancellation;

    internal CallExtras(ClientCall call, in CallOptions options, CallTelemetry? telemetry = null)
    {
        _call = call;
        _telemetry = telemetry;
        Options = options;
    }

    internal CallOptions Options { get; }

    internal Metadata? Headers => Options.Headers;

    /// <summary>Null when the options ask for nothing.</summary>
    internal static CallExtras? Of(ClientCall call, in CallOptions options) =>
        options.Headers is null && options.Deadline is null && !options.CancellationToken.CanBeCanceled
            ? null
            : new CallExtras(call, options);

    /// <summary>Arms deadline and cancellation. False: the call is over before it began.</summary>
    internal bool TryBegin(TimeSpan? timeLeft)
    {
        foreach (var header in Options.Headers ?? [])
        {
            if (header.IsBinary)
            {
                _call.End(new Status(StatusCode.InvalidArgument, $"ttrpc cannot carry the binary header '{header.Key}'"));
                return false;
            }
        }
        if (timeLeft is { } left)
        {
            if (left <= TimeSpan.Zero)
            {
                OnDeadline();
                return false;
            }
            if (left < DeadlineQueue.Longest)
            {
                _call.Connection.Deadlines.Add(this, left);
            }
        }
        _cancellation = Options.CancellationToken.UnsafeRegister(static call => ((ClientCall)call!).Cancel(), _call);
        // Whoever ended the call meanwhile may have missed what was just armed.
        if (_call.IsEnded)
        {
            Release();
        }
        return !_call.IsEnded;
    }

    internal TimeSpan? TimeLeft()
    {
        if (Options.Deadline is not { } deadline || deadline == DateTime.MaxValue)
        {
            return null;
        }
        // As Grpc.Net has it: a local time is a mistake more often than not.
        return deadline.Kind == DateTimeKind.Utc || deadline == DateTime.MinValue
            ? deadline - _call.Connection.Options.TimeProvider.GetUtcNow().UtcDateTime
            : throw new InvalidOperationException("A deadline must be UTC.");
    }

    internal override void OnDeadline() => _call.End(new Status(StatusCode.DeadlineExceeded, "the deadline has passed"));

    /// <summary>The call has ended; any number of times.</summary>
    internal void OnEnded(Status status) => _telemetry?.End(status.StatusCode, status.Detail);

    internal void Release()
    {
        if (Options.Deadline is not null)
        {
            _call.Connection.Deadlines.Remove(this);
        }
        // Not Dispose: that waits for a callback, and the callback may wait for us.
        _cancellation.Unregister();
    }
}
