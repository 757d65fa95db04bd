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
    private object? _message; // the request, then the task of the response

    private UnaryMethod<TRequest, TResponse> Unary => (UnaryMethod<TRequest, TResponse>)Method;

    // Go ignores the flags of a request, and so do we.
    internal override bool TryAccept(in ReadOnlySequence<byte> payload, in RequestStart start)
    {
        if (!TryHold(start.Size))
        {
            return false;
        }
        _message = Connection.Context.Read(Unary.Method.RequestMarshaller, payload);
        return true;
    }

    internal override IThreadPoolWorkItem? OnData(in Frame frame)
    {
        ServerConnection.RefuseData(this, "data on a unary stream");
        return null;
    }

    private protected override Task InvokeAsync()
    {
        var request = (TRequest)_message!;
        _message = null; // not kept alive by a handler that waits
        var handling = Unary.Handler(request, this)
            ?? Task.FromException<TResponse>(new InvalidOperationException("The handler returned no task."));
        _message = handling;
        return handling;
    }

    private protected override WriteResult TryWriteSuccess()
    {
        var response = ((Task<TResponse>)_message!).Result ?? throw new InvalidOperationException("the handler returned no message");
        return Connection.Writer.TryWrite(
            FrameType.Response, StreamId, FrameWriter.ResponsePayloadTag, Unary.Method.ResponseMarshaller, response,
            stream: null, alone: Connection.IsAlone);
    }
}
