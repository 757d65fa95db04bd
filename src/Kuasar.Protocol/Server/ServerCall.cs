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
    private readonly ITimer? _timer;
    private readonly CancellationTokenSource? _cancellation;
    private readonly CallTelemetry? _telemetry;
    private int _answered;
    private volatile bool _deadlinePassed;

    private protected ServerCall(ServerConnection connection, ServerMethod method, in RequestStart start, bool streams)
    {
        Connection = connection;
        StreamId = start.StreamId;
        _method = method;
        _headers = start.Headers;
        _token = connection.Gone;
        _telemetry = CallTelemetry.StartServer(method, start.Headers, connection.Options.TimeProvider);
        // Most unary calls of containerd have a deadline; those without make do with the connection's token.
        if (streams || start.TimeoutNano != 0)
        {
            _cancellation = CancellationTokenSource.CreateLinkedTokenSource(connection.Gone);
            _token = _cancellation.Token;
        }
        if (start.TimeoutNano != 0)
        {
            (_deadline, _timer) = Arm(start.TimeoutNano);
        }
    }

    internal ServerConnection Connection { get; }
    internal uint StreamId { get; }

    /// <summary>The last frame is written or about to be: nothing follows it.</summary>
    public bool IsEnded => Volatile.Read(ref _answered) != 0;

    /// <summary>Takes the request's message. On the reader, before the handler runs; marshaller exceptions come out.</summary>
    internal abstract void Accept(in ReadOnlySequence<byte> payload, FrameFlags flags);

    /// <summary>A data frame. On the reader: must not block.</summary>
    internal abstract void OnData(in Frame frame);

    /// <summary>Runs the handler.</summary>
    private protected abstract Task InvokeAsync();

    /// <summary>Writes the frame that ends the stream well; <see cref="WriteResult.Full"/> is tried again.</summary>
    private protected abstract WriteResult TryWriteSuccess();

    /// <summary>No more messages come in.</summary>
    private protected virtual void OnEnded()
    {
    }

    void IThreadPoolWorkItem.Execute() => _ = RunAsync();

    /// <summary>Answers in the handler's place. On the reader. What the handler still does goes nowhere.</summary>
    internal void Fail(StatusCode code, string message)
    {
        if (TryClaim())
        {
            Connection.Refuse(StreamId, code, message);
            Leave();
            _telemetry?.End(code, message);
            CancelToken();
        }
    }

    /// <summary>Frees what the constructor armed. The handler has ended, or never ran.</summary>
    internal void Discard()
    {
        _timer?.Dispose();
        _cancellation?.Dispose();
    }

    // Disposed when the handler has ended meanwhile.
    private protected void CancelToken() => _cancellation?.CancelApart();

    private async Task RunAsync()
    {
        RpcStatus? error;
        _telemetry?.Enter();
        try
        {
            await InvokeAsync().ConfigureAwait(false);
            error = Status.StatusCode == StatusCode.OK ? null : WireStatus.FromStatus(Status);
        }
        catch (Exception exception) // the handler's, whatever it is
        {
            error = StatusOf(exception);
        }
        if (TryClaim())
        {
            await AnswerAsync(error).ConfigureAwait(false);
            Leave();
        }
        Discard();
        Connection.OnHandlerEnded();
    }

    private async ValueTask AnswerAsync(RpcStatus? error)
    {
        while (true)
        {
            WriteResult result;
            try
            {
                result = error is null ? TryWriteSuccess() : Connection.Writer.TryWriteStatus(StreamId, error, forced: false);
            }
            catch (MessageTooLargeException tooLarge)
            {
                // "An oversize response must become an error response"; an oversize error a short one.
                error = error is null
                    ? WireStatus.Create(StatusCode.ResourceExhausted, tooLarge.Message)
                    : WireStatus.Shorten(error, Connection.Options.MaxMessageSize);
                continue;
            }
            catch (Exception exception) when (error is null) // the marshaller's
            {
                ServerLog.HandlerFailed(Connection.Log, exception, _method.FullName);
                error = WireStatus.Create(StatusCode.Internal, $"cannot write the response message: {exception.Message}");
                continue;
            }
            if (result != WriteResult.Full)
            {
                _telemetry?.End((StatusCode)(error?.Code ?? 0), error?.Message);
                return;
            }
            await Connection.Writer.Room.ConfigureAwait(false);
        }
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
            ServerLog.HandlerFailed(Connection.Log, mapperError, _method.FullName);
        }
        if (exception is OperationCanceledException)
        {
            return _deadlinePassed
                ? WireStatus.Create(StatusCode.DeadlineExceeded, "the deadline has passed")
                : WireStatus.Create(StatusCode.Cancelled, exception.Message);
        }
        ServerLog.HandlerFailed(Connection.Log, exception, _method.FullName);
        return WireStatus.Create(StatusCode.Unknown, exception.Message);
    }

    private bool TryClaim() => Interlocked.Exchange(ref _answered, 1) == 0;

    // After the last frame, so that data racing with it finds the stream and is ignored rather than refused.
    private void Leave()
    {
        Connection.Streams.Remove(StreamId, this);
        OnEnded();
    }
}
