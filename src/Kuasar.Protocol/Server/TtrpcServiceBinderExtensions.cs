using Grpc.Core;
using Grpc.Core.Interceptors;
using Kuasar.Protocol.Server;

namespace Kuasar.Protocol;

/// <summary>Interceptors for servers: those of gRPC, as they are.</summary>
public static class TtrpcServiceBinderExtensions
{
    /// <summary>
    /// The same binder with interceptors around every handler that is bound through the result:
    /// <c>Task.BindService(server.Services.Intercept(first, second), implementation)</c>. Handlers bound through
    /// <paramref name="services"/> itself stay without.
    /// </summary>
    /// <remarks>
    /// The order is gRPC's: the first is the outermost, and a later <c>Intercept</c> goes around an earlier one. One instance of
    /// an interceptor serves all calls, at once. What it throws is answered as if the handler had thrown it. An interceptor that
    /// passes on a context of its own hides <see cref="TtrpcServerCallContextExtensions.GetConnection"/> from the handler.
    /// </remarks>
    /// <param name="services">Of a <see cref="TtrpcServer"/>, or any other.</param>
    /// <param name="interceptors">None changes nothing.</param>
    /// <exception cref="ArgumentException">An interceptor is null.</exception>
    public static ServiceBinderBase Intercept(this ServiceBinderBase services, params Interceptor[] interceptors)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(interceptors);
        return Array.IndexOf(interceptors, null) < 0
            ? InterceptingBinder.Wrap(services, interceptors)
            : throw new ArgumentException("An interceptor is null.", nameof(interceptors));
    }
}
