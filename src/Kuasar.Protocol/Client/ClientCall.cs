using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Client;

/// <summary>
/// One call. It ends exactly once: by its response, its deadline, its caller or the loss of the connection, whichever comes
/// first; ending takes it out of the stream table.
/// </summary>
internal abstract class ClientCall : IStreamState, IThreadPoolWorkItem
{
    private CallExtras? _extras;
    private object? _outcome; // the response of a call that has ended well, or an Outcome

    private protected ClientCall(ClientConnection connection, IMethod method, in CallOptions options)
    {
        Connection = connection;
        Method = method;
        _extras = CallExtras.Of(this, options);
    }

    internal ClientConnection Connection { get; }

    internal IMethod Method { get; }

    /// <summary>0 until the request is written.</summary>
    internal uint StreamId { get; set; }

    public bool IsEnded => Volatile.Read(ref _outcome) is not null;

    /// <summary>Completes (never faults) when the call has ended.</summary>
    protected abstract Task Ended { get; }

    /// <summary>The error of a call that ended badly.</summary>
    protected RpcException? Error => _outcome is Outcome { Status.StatusCode: not StatusCode.OK } outcome
        ? new RpcException(outcome.Status, outcome.Trailers ?? [])
        : null;

    internal static Task<Metadata> NoHeaders(object call) => Task.FromResult(new Metadata());

    internal static Status StatusOf(object call) =>
        ((ClientCall)call)._outcome is { } outcome ? StatusIn(outcome) : throw new InvalidOperationException("The call has not ended.");

    internal static Metadata TrailersOf(object call) =>
        ((ClientCall)call)._outcome is { } outcome ? (outcome as Outcome)?.Trailers ?? [] : throw new InvalidOperationException("The call has not ended.");

    /// <summary>The dispose action of gRPC's call objects.</summary>
    internal static void Cancel(object call) => ((ClientCall)call).Cancel();

    internal void Cancel() => End(new Status(StatusCode.Cancelled, "the call was cancelled"));

    internal void WriteEnvelope(FrameBuilder frame)
    {
        frame.WriteBytes(RequestWriter.NameOf(Method));
        if (_extras is null)
        {
            return;
        }
        if (_extras.TimeLeft() is { } left)
        {
            // 0 would mean no deadline, negative is refused before.
            RequestWriter.WriteTimeout(frame, Math.Max(1, (long)Math.Min(left.Ticks * 100d, long.MaxValue)));
        }
        if (_extras.Headers is { } headers)
        {
            RequestWriter.WriteHeaders(frame, headers);
        }
    }

    /// <summary>A response frame. On the reader: must not block. Returns what tells the caller, if anything is left to tell.</summary>
    internal IThreadPoolWorkItem? OnResponseFrame(in Frame frame)
    {
        ResponseEnvelope response;
        try
        {
            response = ResponseEnvelope.Parse(frame.Data);
        }
        catch (Exception error) when (error is InvalidDataException or Google.Protobuf.InvalidProtocolBufferException)
        {
            End(new Status(StatusCode.Internal, "protocol error: malformed response", error));
            return null;
        }
        if (response.Error is { } status)
        {
            End(WireStatus.ToStatus(status), WireStatus.TrailersOf(status));
            return null;
        }
        return OnResponse(response);
    }

    /// <summary>An OK response. On the reader: must not block.</summary>
    protected abstract IThreadPoolWorkItem? OnResponse(in ResponseEnvelope response);

    /// <summary>A data frame. On the reader: must not block. Returns what wakes the stream's reader.</summary>
    internal abstract IThreadPoolWorkItem? OnData(in Frame frame);

    /// <summary>The call has ended, but by <see cref="TrySucceed"/>; called once. Must not run code of others.</summary>
    protected abstract void OnEnded();

    /// <summary>Tells the caller.</summary>
    public abstract void Execute();

    internal void End(Status status, Metadata? trailers = null)
    {
        if (TryClaim(status.StatusCode == StatusCode.OK ? Outcome.Success : new Outcome(status, trailers)))
        {
            OnEnded();
        }
    }

    /// <summary>Whether this caller is the one to end the call well; <see cref="Result"/> is the response then.</summary>
    protected bool TrySucceed(object response) => TryClaim(response);

    /// <summary>Of a call that has ended by <see cref="TrySucceed"/>.</summary>
    protected object Result => _outcome!;

    /// <summary>Makes a call that has ended, and that nobody else knows any more, ready to be made again.</summary>
    protected void Renew()
    {
        _extras = null;
        _outcome = null; // last: whoever ends the call from here on ends the next one
    }

    private static Status StatusIn(object outcome) => (outcome as Outcome)?.Status ?? Status.DefaultSuccess;

    private bool TryClaim(object outcome)
    {
        if (Interlocked.CompareExchange(ref _outcome, outcome, null) is not null)
        {
            return false;
        }
        Connection.Streams.Remove(StreamId, this);
        if (_extras is { } extras)
        {
            extras.Release();
            extras.OnEnded(StatusIn(outcome));
        }
        return true;
    }

    /// <summary>Reads a message on the reader; a bad one ends the call.</summary>
    protected bool TryRead<T>(Marshaller<T> marshaller, in System.Buffers.ReadOnlySequence<byte> payload, out T? message)
    {
        try
        {
            message = Connection.Context.Read(marshaller, payload);
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
        var timeLeft = _extras?.TimeLeft(); // first, as it may throw
        var options = _extras?.Options ?? default;
        var telemetry = CallTelemetry.StartClient(Method, ref options, Connection.Options.TimeProvider);
        if (telemetry is not null || !ReferenceEquals(options.Headers, _extras?.Headers))
        {
            _extras = new CallExtras(this, options, telemetry);
            // A renewed call may have been ended with its connection before.
            Interlocked.MemoryBarrier();
            if (_outcome is { } outcome)
            {
                _extras.OnEnded(StatusIn(outcome));
            }
        }
        return _extras is null || _extras.TryBegin(timeLeft);
    }

    /// <summary>Sends the request, waiting for room as long as the call lives. Never throws: failures end the call.</summary>
    protected async Task SendAsync<TRequest>(FrameFlags flags, Marshaller<TRequest>? marshaller, TRequest? request)
    {
        try
        {
            while (!IsEnded)
            {
                switch (Connection.TrySend(this, flags, marshaller, request))
                {
                    case WriteResult.Full:
                        await Task.WhenAny(Connection.Writer.Room, Ended).ConfigureAwait(false);
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
    internal Exception EndedError() => (Exception?)Error
        ?? new InvalidOperationException("The call has ended; no more messages can be sent.");

    /// <summary>Waits for room to send, or until the call has ended.</summary>
    internal Task RoomAsync() => Task.WhenAny(Connection.Writer.Room, Ended);

    internal FrameWriter Writer => Connection.Writer;

    private sealed record Outcome(Status Status, Metadata? Trailers)
    {
        internal static readonly Outcome Success = new(Status.DefaultSuccess, null);
    }
}
