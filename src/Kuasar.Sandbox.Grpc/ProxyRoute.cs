using Kuasar.Protocol.Contracts.SandboxServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Grpc;

/// <summary>
/// containerd's proxy route: its sandbox Controller over gRPC on a unix socket, for
/// <c>[proxy_plugins.NAME] type = "sandbox", address = SOCKET</c>. Tasks go by ttrpc to a socket of their own, which the controller tells.
/// One route serves one containerd: on this way nothing in a request says which one asks.
/// </summary>
/// <param name="socket">Absolute path, the <c>address</c> of the proxy plugin. Made with mode 0600; only processes of our own user get in.</param>
public sealed class ProxyRoute(string socket) : ISandboxerRoute
{
    /// <summary>The gRPC socket of the containerd that is served, as its configuration has it (<c>[grpc] address</c>).</summary>
    public string ContainerdAddress { get; init; } = "/run/containerd/containerd.sock";

    /// <summary>Its ttrpc socket. Default: the gRPC socket with <c>.ttrpc</c> behind it, as containerd itself has it.</summary>
    public string ContainerdTtrpcAddress { get => field ?? ContainerdAddress + ".ttrpc"; init; }

    /// <inheritdoc/>
    public async Task<IAsyncDisposable> StartAsync(SandboxerRouteContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        if (!Path.IsPathRooted(socket))
        {
            throw new ArgumentException($"the proxy socket is not absolute: \"{socket}\"");
        }
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            // containerd has one connection, and on it a Wait for every sandbox: a limit would be one of pods, and the next call would hang.
            kestrel.Limits.Http2.MaxStreamsPerConnection = int.MaxValue;
            kestrel.ListenUnixSocket(socket, endpoint => endpoint.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddSingleton<ILoggerFactory>(new QuietLoggerFactory(context.LoggerFactory));
        builder.Services.AddSingleton<IConnectionListenerFactory>(new KestrelListenerFactory(context.Listen));
        builder.Services.AddRoutingCore();
        builder.Services.AddGrpc(grpc => grpc.IgnoreUnknownServices = false);
        var app = builder.Build();
        try
        {
            app.UseRouting();
            app.MapGrpcService(Controller.BindService(context.ControllerFor(ContainerdAddress, ContainerdTtrpcAddress)));
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
            return new Served(app);
        }
        catch
        {
            await app.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private sealed class Served(WebApplication app) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            // A Wait is under way for every sandbox: there is nothing to drain.
            using var now = new CancellationTokenSource();
            await now.CancelAsync().ConfigureAwait(false);
            await app.StopAsync(now.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await app.DisposeAsync().ConfigureAwait(false);
        }
    }
}
