using System.Runtime.CompilerServices;
using Grpc.Core;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Client;

/// <summary>A call with one response: unary and client streaming.</summary>
internal sealed class UnaryCall<TRequest, TResponse>(
    ClientConnection connection, Method<TRequest, TResponse> method, in CallOptions options)
    : ClientCall(connection, method, options)
    where TRequest : class
    where TResponse : class
{
    // A completion source without an object of its own. It is completed by Execute alone, where continuations may run.
    private AsyncTaskMethodBuilder<TResponse> _response;

    internal Task<TResponse> Response => _response.Task;

    protected override Task Ended => Response;

    private new Method<TRequest, TResponse> Method => (Method<TRequest, TResponse>)base.Method;

    internal void Start(TRequest request)
    {
        _ = Response; // made here: making it is not thread-safe
        if (TryBegin())
        {
            _ = SendAsync(FrameFlags.None, Method.RequestMarshaller, request);
        }
    }

    internal RequestStream<TRequest> Open()
    {
        _ = Response; // made here: making it is not thread-safe
        var opened = TryBegin() ? SendAsync<TRequest>(FrameFlags.OpenStream, null, null) : Task.CompletedTask;
        return new RequestStream<TRequest>(this, Method.RequestMarshaller, opened);
    }

    protected override IThreadPoolWorkItem? OnResponse(in ResponseEnvelope response) =>
        TryRead(Method.ResponseMarshaller, response.Payload, out var message) && TrySucceed(message!) ? this : null;

    /// <summary>Data is not for us; but when the server ends the stream with it, no response will come.</summary>
    internal override IThreadPoolWorkItem? OnData(in Frame frame)
    {
        if (frame.EndsStream && Method.Type == MethodType.ClientStreaming)
        {
            End(new Status(StatusCode.Internal, "protocol error: the server ended the stream without a response"));
        }
        return null;
    }

    protected override void OnEnded() => ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);

    public override void Execute()
    {
        if (Error is not { } error)
        {
            _response.SetResult((TResponse)Result);
            return;
        }
        _response.SetException(error);
        // A stream's user may look at the writer's error alone; nobody shall get an unobserved exception for that.
        _ = Response.Exception;
    }
}
