using Grpc.Core;

namespace Kuasar.Protocol.Server;

/// <summary>What generated <c>BindService</c> code talks to.</summary>
/// <param name="methods">Where the methods go.</param>
/// <param name="serviceName">Another full service name to bind them under; null keeps the generated one.</param>
internal sealed class MethodBinder(MethodTable methods, string? serviceName) : ServiceBinderBase
{
    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler) =>
        Add(method, handler, static (method, name, handler) => new UnaryMethod<TRequest, TResponse>(method, name, handler));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler) =>
        Add(method, handler, static (method, name, handler) => new StreamMethod<TRequest, TResponse>(
            method, name, call => handler(call.Request!, call, call)));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ClientStreamingServerMethod<TRequest, TResponse>? handler) =>
        Add(method, handler, static (method, name, handler) => new StreamMethod<TRequest, TResponse>(
            method, name, async call => call.Response = await handler(call, call).ConfigureAwait(false)));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TRequest, TResponse>? handler) =>
        Add(method, handler, static (method, name, handler) => new StreamMethod<TRequest, TResponse>(
            method, name, call => handler(call, call, call)));

    private void Add<TMethod, THandler>(TMethod method, THandler? handler, Func<TMethod, string, THandler, ServerMethod> create)
        where TMethod : IMethod
        where THandler : Delegate
    {
        ArgumentNullException.ThrowIfNull(handler);
        var service = serviceName ?? method.ServiceName;
        methods.Add(service, create(method, $"/{service}/{method.Name}", handler));
    }
}
