using System.Collections.Concurrent;
using Grpc.Core;
using Grpc.Core.Interceptors;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>An interceptor as gRPC's users write them, for both sides and all kinds: says when it is entered and left.</summary>
internal sealed class TracingInterceptor(string name, ConcurrentQueue<string> log) : Interceptor
{
    public override TResponse BlockingUnaryCall<TRequest, TResponse>(
        TRequest request, ClientInterceptorContext<TRequest, TResponse> context, BlockingUnaryCallContinuation<TRequest, TResponse> continuation)
    {
        Say("blocking", context.Method.Name);
        var response = continuation(request, Marked(context));
        Say("end", context.Method.Name);
        return response;
    }

    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        TRequest request, ClientInterceptorContext<TRequest, TResponse> context, AsyncUnaryCallContinuation<TRequest, TResponse> continuation)
    {
        Say("call", context.Method.Name);
        return continuation(request, Marked(context));
    }

    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
        TRequest request, ClientInterceptorContext<TRequest, TResponse> context, AsyncServerStreamingCallContinuation<TRequest, TResponse> continuation)
    {
        Say("call", context.Method.Name);
        return continuation(request, Marked(context));
    }

    public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
        ClientInterceptorContext<TRequest, TResponse> context, AsyncClientStreamingCallContinuation<TRequest, TResponse> continuation)
    {
        Say("call", context.Method.Name);
        return continuation(Marked(context));
    }

    public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
        ClientInterceptorContext<TRequest, TResponse> context, AsyncDuplexStreamingCallContinuation<TRequest, TResponse> continuation)
    {
        Say("call", context.Method.Name);
        return continuation(Marked(context));
    }

    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        Say("enter", context.Method);
        var response = await continuation(request, context);
        Say("leave", context.Method);
        return response;
    }

    public override async Task<TResponse> ClientStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requestStream, ServerCallContext context, ClientStreamingServerMethod<TRequest, TResponse> continuation)
    {
        Say("enter", context.Method);
        var response = await continuation(requestStream, context);
        Say("leave", context.Method);
        return response;
    }

    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        Say("enter", context.Method);
        await continuation(request, responseStream, context);
        Say("leave", context.Method);
    }

    public override async Task DuplexStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        DuplexStreamingServerMethod<TRequest, TResponse> continuation)
    {
        Say("enter", context.Method);
        await continuation(requestStream, responseStream, context);
        Say("leave", context.Method);
    }

    private void Say(string what, string method) => log.Enqueue($"{name} {what} {method[(method.LastIndexOf('/') + 1)..]}");

    // A header of its own, and the other options as they are.
    private ClientInterceptorContext<TRequest, TResponse> Marked<TRequest, TResponse>(ClientInterceptorContext<TRequest, TResponse> context)
        where TRequest : class
        where TResponse : class
    {
        var headers = new Metadata { { "passed", name } };
        foreach (var entry in context.Options.Headers ?? [])
        {
            headers.Add(entry);
        }
        return new(context.Method, context.Host, context.Options.WithHeaders(headers));
    }
}
