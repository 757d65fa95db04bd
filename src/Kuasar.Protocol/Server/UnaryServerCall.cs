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
    private TResponse? _response;

    // Go ignores the flags of a request, and so do we.
    internal override void Accept(in ReadOnlySequence<byte> payload, FrameFlags flags) =>
        _request = Connection.Context.Read(method.Method.RequestMarshaller, payload);

    internal override void OnData(in Frame frame) => ServerConnection.RefuseData(this, "data on a unary stream");

    private protected override async Task InvokeAsync()
    {
        var request = _request!;
        _request = null; // not kept alive by a handler that waits
        _response = await method.Handler(request, this).ConfigureAwait(false)
            ?? throw new RpcException(new Status(StatusCode.Internal, "the handler returned no message"));
    }

    private protected override WriteResult TryWriteSuccess() => Connection.Writer.TryWrite(
        FrameType.Response, StreamId, FrameWriter.ResponsePayloadTag, method.Method.ResponseMarshaller, _response!, stream: null);
}
