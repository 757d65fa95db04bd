using System.Buffers;
using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Server;

internal sealed class UnaryServerCall<TRequest, TResponse>(
    ServerConnection connection, UnaryMethod<TRequest, TResponse> method, in RequestStart start)
    : ServerCall(connection, method, start, streams: false)
    where TRequest : class
    where TResponse : class
{
    private TRequest? _request;
    private Task<TResponse>? _handling;

    private UnaryMethod<TRequest, TResponse> Unary => (UnaryMethod<TRequest, TResponse>)Method;

    // Go ignores the flags of a request, and so do we.
    internal override bool TryAccept(in ReadOnlySequence<byte> payload, in RequestStart start)
    {
        if (!TryHold(start.Size))
        {
            return false;
        }
        _request = Connection.Context.Read(Unary.Method.RequestMarshaller, payload);
        return true;
    }

    internal override IThreadPoolWorkItem? OnData(in Frame frame)
    {
        ServerConnection.RefuseData(this, "data on a unary stream");
        return null;
    }

    private protected override Task InvokeAsync()
    {
        var request = _request!;
        _request = null; // not kept alive by a handler that waits
        return _handling = Unary.Handler(request, this)
            ?? Task.FromException<TResponse>(new InvalidOperationException("The handler returned no task."));
    }

    private protected override WriteResult TryWriteSuccess()
    {
        var response = _handling!.Result ?? throw new InvalidOperationException("the handler returned no message");
        return Connection.Writer.TryWrite(
            FrameType.Response, StreamId, FrameWriter.ResponsePayloadTag, Unary.Method.ResponseMarshaller, response,
            stream: null, alone: Connection.IsAlone);
    }
}
