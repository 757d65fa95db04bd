using System.Buffers;
using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Server;

/// <summary>A call with a stream on either side or both. It is the handler's reader and writer as well.</summary>
internal sealed class StreamServerCall<TRequest, TResponse>(
    ServerConnection connection, StreamMethod<TRequest, TResponse> method, in RequestStart start)
    : ServerCall(connection, method, start, streams: true), IAsyncStreamReader<TRequest>, IServerStreamWriter<TResponse>
    where TRequest : class
    where TResponse : class
{
    private readonly MessageQueue<TRequest> _messages = new(connection.Options.StreamQueueLimit, connection.Received);
    private static readonly Task<bool> s_true = Task.FromResult(true);
    private TRequest? _current;
    private bool _remoteClosed; // the reader's

    /// <summary>Of a server stream.</summary>
    internal TRequest? Request { get; private set; }

    /// <summary>Of a client stream, once its handler has returned.</summary>
    internal TResponse? Response { get; set; }

    public TRequest Current => _current ?? throw new InvalidOperationException("There is no current message.");

    WriteOptions? IAsyncStreamWriter<TResponse>.WriteOptions { get; set; }

    private MethodType Type => method.Method.Type;

    internal override bool TryAccept(in ReadOnlySequence<byte> payload, in RequestStart start)
    {
        if (Type == MethodType.ServerStreaming)
        {
            if (!TryHold(start.Size))
            {
                return false;
            }
            Request = Connection.Context.Read(method.Method.RequestMarshaller, payload);
            return true;
        }
        // 0x02 and 0x06 are both seen; "treat a non-empty payload as the first message".
        if (!payload.IsEmpty
            && !_messages.TryEnqueue(Connection.Context.Read(method.Method.RequestMarshaller, payload), payload.Length))
        {
            return false;
        }
        if ((start.Flags & FrameFlags.RemoteClosed) != 0)
        {
            _remoteClosed = true;
            _messages.Complete();
        }
        return TryHold(start.Size - (int)payload.Length);
    }

    internal override void Discard()
    {
        base.Discard();
        _messages.Complete();
        _messages.Release();
    }

    internal override IThreadPoolWorkItem? OnData(in Frame frame)
    {
        if (IsEnded)
        {
            return null;
        }
        if (Type == MethodType.ServerStreaming)
        {
            // A late end frame is harmless: the request closed that side already.
            if (frame.HasMessage)
            {
                ServerConnection.RefuseData(this, "data on a server stream");
            }
            return null;
        }
        if (_remoteClosed)
        {
            ServerConnection.RefuseData(this, "data after the end of the stream");
            return null;
        }
        IThreadPoolWorkItem? wake = null;
        if (frame.HasMessage && !TryEnqueue(frame.Data, out wake))
        {
            return null;
        }
        if (frame.EndsStream)
        {
            _remoteClosed = true;
            _messages.Complete();
        }
        return wake;
    }

    public Task<bool> MoveNext(CancellationToken cancellationToken) =>
        _messages.TryDequeue(out _current) ? s_true : WaitAsync(cancellationToken);

    public Task WriteAsync(TResponse message) => WriteAsync(message, CancellationToken.None);

    public async Task WriteAsync(TResponse message, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(message);
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            CancellationToken.ThrowIfCancellationRequested();
            switch (TryWrite(message))
            {
                case WriteResult.Written:
                    return;
                case WriteResult.Full:
                    await Connection.Writer.Room
                        .WaitAsync(cancellationToken.CanBeCanceled ? cancellationToken : CancellationToken).ConfigureAwait(false);
                    break;
                case WriteResult.Closed:
                    throw new OperationCanceledException("The connection is closed.");
                default:
                    throw new InvalidOperationException("The stream has ended; no more messages can be sent.");
            }
        }
    }

    private protected override Task InvokeAsync() => method.Handler(this);

    private protected override WriteResult TryWriteSuccess()
    {
        if (Type != MethodType.ClientStreaming)
        {
            return Connection.Writer.TryWriteEnd(StreamId, stream: null, alone: Connection.IsAlone);
        }
        var response = Response ?? throw new InvalidOperationException("the handler returned no message");
        return Connection.Writer.TryWrite(FrameType.Response, StreamId, FrameWriter.ResponsePayloadTag,
            method.Method.ResponseMarshaller, response, stream: null, alone: Connection.IsAlone);
    }

    private protected override void OnEnded() => _messages.Complete(new OperationCanceledException("The call has ended."));

    private WriteResult TryWrite(TResponse message)
    {
        try
        {
            return Connection.Writer.TryWrite(FrameType.Data, StreamId, 0, method.Method.ResponseMarshaller, message, this,
                Connection.Writer.TakeAnswer());
        }
        catch (MessageTooLargeException error)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, error.Message));
        }
    }

    private async Task<bool> WaitAsync(CancellationToken cancellationToken)
    {
        // Without a token of its own a read still ends with the call: deadline or connection.
        using var both = cancellationToken.CanBeCanceled
            ? CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, CancellationToken)
            : null;
        while (await _messages.WaitAsync(both?.Token ?? CancellationToken).ConfigureAwait(false))
        {
            if (_messages.TryDequeue(out _current))
            {
                return true;
            }
        }
        return false;
    }

    private bool TryEnqueue(in ReadOnlySequence<byte> data, out IThreadPoolWorkItem? wake)
    {
        wake = null;
        TRequest message;
        try
        {
            message = Connection.Context.Read(method.Method.RequestMarshaller, data);
        }
        catch (Exception error) // the marshaller's, whatever it is
        {
            Fail(StatusCode.Internal, $"cannot read the request message: {error.Message}");
            return false;
        }
        if (!_messages.TryEnqueue(message, data.Length, out wake))
        {
            Fail(StatusCode.ResourceExhausted, "the messages of the stream, or of the connection, are not read fast enough");
            return false;
        }
        return true;
    }
}
