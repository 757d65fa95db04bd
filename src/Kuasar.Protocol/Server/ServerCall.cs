using System.Buffers;
using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Transport;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Server;

/// <summary>
/// One call on the server: runs its handler on the pool, without anybody's ExecutionContext, and answers once: by the handler's
/// outcome, or by the reader when the peer misuses the stream. The context half is in ServerCall.Context.cs.
/// </summary>
internal abstract partial class ServerCall : ServerCallContext, IThreadPoolWorkItem, IStreamState
{
    private const int Answered = int.MinValue;

    // Every unary call pays for what is here, so two things share a field, twice.
    private object _owner; // the connection, or the extras, which know it
    private int _state; // Answered, and the bytes that are held of the connection's total

    private protected ServerCall(ServerConnection connection, ServerMethod method, in RequestStart start, bool streams)
    {
        _owner = connection;
        StreamId = start.StreamId;
        Method = method;
        if (CallTelemetry.StartServer(method, start.Headers, connection.Options.TimeProvider) is { } telemetry)
        {
            Extras.Telemetry = telemetry;
        }
        if (start.Headers is not null)
        {
            Extras.Headers = start.Headers;
        }
        // Without a deadline a unary call makes do with the connection's token.
        if (streams || start.TimeoutNano != 0)
        {
            Extras.Arm(start.TimeoutNano);
        }
    }

    internal ServerConnection Connection => _owner as ServerConnection ?? ((CallExtras)_owner).Connection;
    internal uint StreamId { get; }
    private protected new ServerMethod Method { get; }

    /// <summary>The last frame is written or about to be: nothing follows it.</summary>
    public bool IsEnded => (Volatile.Read(ref _state) & Answered) != 0;

    /// <summary>Null while the call has nothing that only some have.</summary>
    private CallExtras? FoundExtras => _owner as CallExtras;

    private CallTelemetry? Telemetry => FoundExtras?.Telemetry;

    /// <summary>
    /// Takes the request's message. On the reader, before the handler runs; marshaller exceptions come out. False: the connection
    /// holds too much already.
    /// </summary>
    internal abstract bool TryAccept(in ReadOnlySequence<byte> payload, in RequestStart start);

    /// <summary>A data frame. On the reader: must not block. Returns what wakes a handler that waits for it.</summary>
    internal abstract IThreadPoolWorkItem? OnData(in Frame frame);

    /// <summary>Runs the handler. What it throws and what its task throws are the same.</summary>
    private protected abstract Task InvokeAsync();

    /// <summary>Writes the frame that ends the stream well; <see cref="WriteResult.Full"/> is tried again.</summary>
    private protected abstract WriteResult TryWriteSuccess();

    /// <summary>No more messages come in.</summary>
    private protected virtual void OnEnded()
    {
    }

    void IThreadPoolWorkItem.Execute()
    {
        if (Telemetry is not { } telemetry)
        {
            Run();
            return;
        }
        // This may be the reader, and what runs on it later is no part of the span.
        using var current = CurrentActivity.Keep();
        telemetry.Enter();
        Run();
    }

    /// <summary>Runs the handler; without a state machine as long as nothing has to be waited for.</summary>
    private void Run()
    {
        Task handling;
        try
        {
            handling = InvokeAsync();
        }
        catch (Exception exception) // the handler's, whatever it is
        {
            _ = AnswerAsync(StatusOf(exception));
            return;
        }
        if (handling is not { IsCompletedSuccessfully: true })
        {
            _ = AwaitAsync(handling);
        }
        else if (FoundExtras is not null || !TryAnswer())
        {
            _ = AnswerAsync(OwnError());
        }
    }

    /// <summary>Answers in the handler's place. On the reader. What the handler still does goes nowhere.</summary>
    internal void Fail(StatusCode code, string message)
    {
        if (TryClaim())
        {
            Connection.Refuse(StreamId, code, message);
            Leave();
            Telemetry?.End(code, message);
            FoundExtras?.CancelToken();
        }
    }

    /// <summary>Frees what the constructor armed and what the request took. The handler has ended, or never ran; once.</summary>
    internal virtual void Discard()
    {
        FoundExtras?.Discard();
        Connection.Received.GiveBack(_state & ~Answered);
    }

    /// <summary>Takes so many bytes of the connection's total, for as long as the handler runs.</summary>
    private protected bool TryHold(int size)
    {
        if (!Connection.Received.TryTake(size))
        {
            return false;
        }
        _state = size; // nobody else knows the call yet
        return true;
    }

    private async Task AwaitAsync(Task handling)
    {
        RpcStatus? error;
        try
        {
            await handling.ConfigureAwait(false);
            error = OwnError();
        }
        catch (Exception exception) // the handler's, whatever it is
        {
            error = StatusOf(exception);
        }
        await AnswerAsync(error).ConfigureAwait(false);
    }

    // What the handler left in its context.
    private RpcStatus? OwnError() =>
        StatusCore is { StatusCode: not StatusCode.OK } status ? WireStatus.FromStatus(status) : null;

    /// <summary>The plain case: an answer that can be written. False: nothing has happened.</summary>
    private bool TryAnswer()
    {
        if (Connection.Writer.SeemsFull || !TryClaim())
        {
            return false;
        }
        try
        {
            if (TryWriteSuccess() == WriteResult.Full)
            {
                _ = WriteAsync(null);
                return true;
            }
        }
        catch (Exception exception) // too large, or the marshaller's
        {
            _ = WriteAsync(ErrorOf(exception));
            return true;
        }
        Leave();
        Telemetry?.End(StatusCode.OK, null);
        End();
        return true;
    }

    private async Task AnswerAsync(RpcStatus? error)
    {
        if (TryClaim())
        {
            await WriteAsync(error).ConfigureAwait(false);
        }
        else
        {
            End();
        }
    }

    /// <summary>Writes the claimed answer, waiting for room, and ends the call.</summary>
    private async Task WriteAsync(RpcStatus? error)
    {
        while (true)
        {
            WriteResult result;
            try
            {
                result = error is null ? TryWriteSuccess() : Connection.Writer.TryWriteStatus(StreamId, error, forced: false);
            }
            catch (MessageTooLargeException) when (error is not null)
            {
                error = WireStatus.Shorten(error, Connection.Options.MaxMessageSize);
                continue;
            }
            catch (Exception exception) when (error is null)
            {
                error = ErrorOf(exception);
                continue;
            }
            if (result != WriteResult.Full)
            {
                break;
            }
            await Connection.Writer.Room.ConfigureAwait(false);
        }
        Leave();
        Telemetry?.End((StatusCode)(error?.Code ?? 0), error?.Message);
        End();
    }

    /// <summary>Of a response that could not be written. "An oversize response must become an error response."</summary>
    private RpcStatus ErrorOf(Exception exception)
    {
        if (exception is MessageTooLargeException)
        {
            return WireStatus.Create(StatusCode.ResourceExhausted, exception.Message);
        }
        ServerLog.HandlerFailed(Connection.Log, exception, Method.FullName);
        return WireStatus.Create(StatusCode.Internal, $"cannot write the response message: {exception.Message}");
    }

    private void End()
    {
        Discard();
        Connection.OnHandlerEnded();
    }

    private RpcStatus StatusOf(Exception exception)
    {
        if (exception is RpcException rpc)
        {
            return WireStatus.FromException(rpc);
        }
        try
        {
            if (Connection.Options.ErrorMapper?.Invoke(exception) is { } mapped)
            {
                return WireStatus.FromStatus(mapped);
            }
        }
        catch (Exception mapperError) // the call must be answered whatever the hook does
        {
            ServerLog.HandlerFailed(Connection.Log, mapperError, Method.FullName);
        }
        if (exception is OperationCanceledException)
        {
            return FoundExtras is { DeadlinePassed: true }
                ? WireStatus.Create(StatusCode.DeadlineExceeded, "the deadline has passed")
                : WireStatus.Create(StatusCode.Cancelled, exception.Message);
        }
        ServerLog.HandlerFailed(Connection.Log, exception, Method.FullName);
        return WireStatus.Create(StatusCode.Unknown, exception.Message);
    }

    private bool TryClaim() => (Interlocked.Or(ref _state, Answered) & Answered) == 0;

    // After the last frame, so that data racing with it finds the stream and is ignored rather than refused.
    private void Leave()
    {
        Connection.Streams.Remove(StreamId, this);
        OnEnded();
    }
}
