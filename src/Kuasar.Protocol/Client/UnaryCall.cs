using Grpc.Core;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Client;

/// <summary>A call with one response: unary and client streaming.</summary>
internal sealed class UnaryCall<TRequest, TResponse>(
    ClientConnection connection, Method<TRequest, TResponse> method, CallOptions options)
    : ClientCall(connection, method, options)
    where TRequest : class
    where TResponse : class
{
    private readonly TaskCompletionSource<TResponse> _response = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal Task<TResponse> Response => _response.Task;

    protected override Task Ended => _response.Task;

    internal void Start(TRequest request)
    {
        if (TryBegin())
        {
            _ = SendAsync(FrameFlags.None, method.RequestMarshaller, request);
        }
    }

    internal RequestStream<TRequest> Open()
    {
        var opened = TryBegin() ? SendAsync<TRequest>(FrameFlags.OpenStream, null, null) : Task.CompletedTask;
        return new RequestStream<TRequest>(this, method.RequestMarshaller, opened);
    }

    protected override void OnResponse(in ResponseEnvelope response)
    {
        if (TryRead(method.ResponseMarshaller, response.Payload, out var message) && TrySucceed())
        {
            _response.TrySetResult(message!);
        }
    }

    /// <summary>Data is not for us; but when the server ends the stream with it, no response will come.</summary>
    internal override void OnData(in Frame frame)
    {
        if (frame.EndsStream && method.Type == MethodType.ClientStreaming)
        {
            End(new Status(StatusCode.Internal, "protocol error: the server ended the stream without a response"));
        }
    }

    protected override void OnEnded(RpcException? error)
    {
        _response.TrySetException(error!);
        // A stream's user may look at the writer's error alone; nobody shall get an unobserved exception for that.
        _ = _response.Task.Exception;
    }
}
