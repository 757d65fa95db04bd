using Grpc.Core;
using Grpc.Core.Interceptors;

namespace Kuasar.Protocol.Server;

/// <summary>Binds handlers with interceptors around them; a server without interceptors pays nothing for the possibility.</summary>
/// <param name="inner">Where the wrapped handlers go; never one of these.</param>
/// <param name="interceptors">The first is the outermost.</param>
internal sealed class InterceptingBinder(ServiceBinderBase inner, Interceptor[] interceptors) : ServiceBinderBase
{
    /// <summary>The binder with more interceptors around those it has.</summary>
    internal static InterceptingBinder Wrap(ServiceBinderBase services, Interceptor[] outer) => services is InterceptingBinder known
        ? new InterceptingBinder(known.Inner, [.. outer, .. known.Interceptors])
        : new InterceptingBinder(services, [.. outer]);

    private ServiceBinderBase Inner => inner;
    private Interceptor[] Interceptors => interceptors;

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler) =>
        inner.AddMethod(method, Around(handler, static (interceptor, next) =>
            (request, context) => interceptor.UnaryServerHandler(request, context, next)));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler) =>
        inner.AddMethod(method, Around(handler, static (interceptor, next) =>
            (request, responses, context) => interceptor.ServerStreamingServerHandler(request, responses, context, next)));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ClientStreamingServerMethod<TRequest, TResponse>? handler) =>
        inner.AddMethod(method, Around(handler, static (interceptor, next) =>
            (requests, context) => interceptor.ClientStreamingServerHandler(requests, context, next)));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TRequest, TResponse>? handler) =>
        inner.AddMethod(method, Around(handler, static (interceptor, next) =>
            (requests, responses, context) => interceptor.DuplexStreamingServerHandler(requests, responses, context, next)));

    // Generated code binds null handlers for null services, and the inner binder has its word on that.
    private THandler? Around<THandler>(THandler? handler, Func<Interceptor, THandler, THandler> wrap)
        where THandler : Delegate
    {
        for (var i = interceptors.Length - 1; i >= 0 && handler is not null; i--)
        {
            handler = wrap(interceptors[i], handler);
        }
        return handler;
    }
}
