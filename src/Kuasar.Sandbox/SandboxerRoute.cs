using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.SandboxServices;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox;

/// <summary>
/// A way by which a containerd reaches the sandboxer other than through a shim, which is always there. Added to
/// <see cref="SandboxerOptions.Routes"/>; Kuasar.Sandbox.Grpc has containerd's proxy plugins.
/// </summary>
public interface ISandboxerRoute
{
    /// <summary>Begins to serve; containerd can connect when this returns. Called once, by the host that starts.</summary>
    /// <returns>Disposed by the host when it stops: that ends the serving, at once.</returns>
    Task<IAsyncDisposable> StartAsync(SandboxerRouteContext context, CancellationToken cancellationToken);
}

/// <summary>What the host gives to a route.</summary>
public sealed class SandboxerRouteContext
{
    private readonly Func<string, string, Controller.ControllerBase> _controllerFor;
    private readonly Func<string, IConnectionSource> _listen;

    internal SandboxerRouteContext(
        Func<string, string, Controller.ControllerBase> controllerFor, Func<string, IConnectionSource> listen, ILoggerFactory loggerFactory)
    {
        _controllerFor = controllerFor;
        _listen = listen;
        LoggerFactory = loggerFactory;
    }

    /// <summary>Loggers of the host.</summary>
    public ILoggerFactory LoggerFactory { get; }

    /// <summary>
    /// The sandboxes of one containerd, as its <c>containerd.services.sandbox.v1.Controller</c>. Failures come out as RpcException. The
    /// namespace is read from the request header <c>containerd-namespace</c>.
    /// </summary>
    /// <param name="containerdAddress">That containerd's gRPC socket, as its shims are told it; names the instance.</param>
    /// <param name="containerdTtrpcAddress">Its ttrpc socket, which takes the events of tasks.</param>
    public Controller.ControllerBase ControllerFor(string containerdAddress, string containerdTtrpcAddress)
    {
        ArgumentException.ThrowIfNullOrEmpty(containerdAddress);
        ArgumentException.ThrowIfNullOrEmpty(containerdTtrpcAddress);
        return _controllerFor(containerdAddress, containerdTtrpcAddress);
    }

    /// <summary>A unix socket with the mode and the check of peers of all sockets of the host; the caller disposes it.</summary>
    /// <param name="path">Absolute.</param>
    public IConnectionSource Listen(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return _listen(path);
    }
}
