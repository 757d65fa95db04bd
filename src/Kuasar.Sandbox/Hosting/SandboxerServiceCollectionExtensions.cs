using System.Diagnostics.CodeAnalysis;
using Kuasar.Sandbox;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Hosts sandboxers in a generic host.</summary>
public static class SandboxerServiceCollectionExtensions
{
    /// <summary>
    /// Runs a sandboxer for the life of the host, logging to the host's loggers. May be called for several sandboxers, each with a
    /// name of its own.
    /// </summary>
    public static IServiceCollection AddSandboxer<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TSandboxer>(
        this IServiceCollection services, Action<SandboxerOptions> configure)
        where TSandboxer : Sandboxer
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        services.TryAddSingleton<TSandboxer>();
        return services.AddSingleton<IHostedService>(provider =>
        {
            var options = new SandboxerOptions { LoggerFactory = provider.GetService<ILoggerFactory>() };
            configure(options);
            return new SandboxerHostedService(new SandboxerHost(provider.GetRequiredService<TSandboxer>(), options));
        });
    }

    private sealed class SandboxerHostedService(SandboxerHost host) : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken) => host.StartAsync(cancellationToken);

        public Task StopAsync(CancellationToken cancellationToken) => host.DisposeAsync().AsTask();
    }
}
