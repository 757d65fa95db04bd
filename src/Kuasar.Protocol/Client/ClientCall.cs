using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Client;

/// <summary>
/// One call. It ends exactly once: by its response, its deadline, its caller or the loss of the connection, whichever comes
/// first; ending takes it out of the stream table.
/// </summary>
internal abstract class ClientCall(ClientConnection connection, IMethod method, CallOptions options) : IStreamState
{
    // Timers hold 49 days; a deadline past that only travels.
    private static readonly TimeSpan LongestTimer = TimeSpan.FromDays(45);

    private readonly byte[] _name = RequestWriter.NameOf(method);
    private ITimer? _timer;
    private CancellationTokenRegistration _cancellation;
    private Outcome? _outcome;
    private CallTelemetry? _telemetry;

    protected ClientConnection Connection => connection;

    /// <summary>0 until the request is written.</summary>
    internal uint StreamId { get; set; }

    public bool IsEnded => Volatile.Read(ref _outcome) is not null;

    /// <summary>Completes (never faults) when the call has ended.</summary>
    protected abstract Task Ended { get; }

    internal static Task<Metadata> NoHeaders(object call) => Task.FromResult(new Metadata());

    internal static Status StatusOf(object call) =>
        ((ClientCall)call)._outcome?.Status ?? throw new InvalidOperationException("The call has not ended.");

    internal static Metadata TrailersOf(object call) =>
        ((ClientCall)call)._outcome is { } outcome ? outcome.Trailers ?? [] : throw new InvalidOperationException("The call has not ended.");

    /// <summary>The dispose action of gRPC's call objects.</summary>
    internal static void Cancel(object call) => ((ClientCall)call).Cancel();

    internal void Cancel() => End(new Status(StatusCode.Cancelled, "the call was cancelled"));

    internal void WriteEnvelope(FrameBuilder frame)
    {
        frame.WriteBytes(_name);
        if (TimeLeft() is { } left)
        {
            // 0 would mean no deadline, negative is refused before.
            RequestWriter.WriteTimeout(frame, Math.Max(1, (long)Math.Min(left.Ticks * 100d, long.MaxValue)));
        }
        if (options.Headers is { } headers)
        {
            RequestWriter.WriteHeaders(frame, headers);
        }
    }

    internal void OnResponseFrame(in Frame frame)
    {
        ResponseEnvelope response;
        try
        {
            response = ResponseEnvelope.Parse(frame.Data);
        }
        catch (Exception error) when (error is InvalidDataException or Google.Protobuf.InvalidProtocolBufferException)
        {
            End(new Status(StatusCode.Internal, "protocol error: malformed response", error));
            return;
        }
        if (response.Error is { } status)
        {
            End(WireStatus.ToStatus(status), WireStatus.TrailersOf(status));
            return;
        }
        OnResponse(response);
    }

    /// <summary>An OK response. On the reader: must not block.</summary>
    protected abstract void OnResponse(in ResponseEnvelope response);

    /// <summary>A data frame. On the reader: must not block.</summary>
    internal abstract void OnData(in Frame frame);

    /// <summary>Tells the caller; called once. <paramref name="error"/> is null when the call ended well.</summary>
    protected abstract void OnEnded(RpcException? error);

    internal void End(Status status, Metadata? trailers = null)
    {
        if (TryClaim(status.StatusCode == StatusCode.OK ? Outcome.Success : new Outcome(status, trailers)))
        {
            OnEnded(status.StatusCode == StatusCode.OK ? null : new RpcException(status, trailers ?? []));
        }
    }

    /// <summary>Whether this caller is the one to end the call well; it then gives the result.</summary>
    protected bool TrySucceed() => TryClaim(Outcome.Success);

    private bool TryClaim(Outcome outcome)
    {
        if (Interlocked.CompareExchange(ref _outcome, outcome, null) is not null)
        {
            return false;
        }
        connection.Streams.Remove(StreamId, this);
        Release();
        _telemetry?.End(outcome.Status.StatusCode, outcome.Status.Detail);
        return true;
    }

    /// <summary>Reads a message on the reader; a bad one ends the call.</summary>
    protected bool TryRead<T>(Marshaller<T> marshaller, in System.Buffers.ReadOnlySequence<byte> payload, out T? message)
    {
        try
        {
            message = connection.Context.Read(marshaller, payload);
            return true;
        }
        catch (Exception error) // the marshaller's, whatever it is
        {
            message = default;
            End(new Status(StatusCode.Internal, $"cannot read the response message: {error.Message}", error));
            return false;
        }
    }

    /// <summary>Arms deadline and cancellation. False: the call is over before it began.</summary>
    protected bool TryBegin()
    {
        var timeLeft = TimeLeft(); // first, as it may throw
        _telemetry = CallTelemetry.StartClient(method, ref options, connection.Options.TimeProvider);
        foreach (var header in options.Headers ?? [])
        {
            if (header.IsBinary)
            {
                End(new Status(StatusCode.InvalidArgument, $"ttrpc cannot carry the binary header '{header.Key}'"));
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
            if (left < LongestTimer)
            {
                _timer = connection.Options.TimeProvider.CreateTimer(
                    static call => ((ClientCall)call!).OnDeadline(), this, left, Timeout.InfiniteTimeSpan);
            }
        }
        _cancellation = options.CancellationToken.UnsafeRegister(static call => ((ClientCall)call!).Cancel(), this);
        // Whoever ended the call meanwhile may have missed what was just armed.
        if (IsEnded)
        {
            Release();
        }
        return !IsEnded;
    }

    /// <summary>Sends the request, waiting for room as long as the call lives. Never throws: failures end the call.</summary>
    protected async Task SendAsync<TRequest>(FrameFlags flags, Marshaller<TRequest>? marshaller, TRequest? request)
    {
        try
        {
            while (!IsEnded)
            {
                switch (connection.TrySend(this, flags, marshaller, request))
                {
                    case WriteResult.Full:
                        await Task.WhenAny(connection.Writer.Room, Ended).ConfigureAwait(false);
                        break;
                    case WriteResult.Closed:
                        End(new Status(StatusCode.Unavailable, "the connection is closed"));
                        return;
                    case WriteResult.Exhausted:
                        End(new Status(StatusCode.Unavailable, "the connection has used all its stream ids"));
                        return;
                    default:
                        return;
                }
            }
        }
        catch (MessageTooLargeException error)
        {
            End(new Status(StatusCode.ResourceExhausted, error.Message));
        }
        catch (Exception error) // the marshaller's, whatever it is
        {
            End(new Status(StatusCode.Internal, $"cannot write the request message: {error.Message}", error));
        }
    }

    /// <summary>The error of the call that has ended, for whoever still uses its streams.</summary>
    internal Exception EndedError() => _outcome is { Status.StatusCode: not StatusCode.OK } outcome
        ? new RpcException(outcome.Status, outcome.Trailers ?? [])
        : new InvalidOperationException("The call has ended; no more messages can be sent.");

    /// <summary>Waits for room to send, or until the call has ended.</summary>
    internal Task RoomAsync() => Task.WhenAny(connection.Writer.Room, Ended);

    internal FrameWriter Writer => connection.Writer;

    private TimeSpan? TimeLeft()
    {
        if (options.Deadline is not { } deadline || deadline == DateTime.MaxValue)
        {
            return null;
        }
        // As Grpc.Net has it: a local time is a mistake more often than not.
        return deadline.Kind == DateTimeKind.Utc || deadline == DateTime.MinValue
            ? deadline - connection.Options.TimeProvider.GetUtcNow().UtcDateTime
            : throw new InvalidOperationException("A deadline must be UTC.");
    }

    private void OnDeadline() => End(new Status(StatusCode.DeadlineExceeded, "the deadline has passed"));

    private void Release()
    {
        _timer?.Dispose();
        // Not Dispose: that waits for a callback, and the callback may wait for us.
        _cancellation.Unregister();
    }

    private sealed record Outcome(Status Status, Metadata? Trailers)
    {
        internal static readonly Outcome Success = new(Status.DefaultSuccess, null);
    }
}
