using Kuasar.Sandbox;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Kuasar.Docs.Tests.Snippets;

internal static class HostedSandboxer
{
    internal sealed class MySandboxer : Sandboxer
    {
        public override Task<Sandbox.Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken) => throw new NotSupportedException();
    }

    internal static async Task RunAsync(string[] args)
    {
        var builder = Host.CreateApplicationBuilder(args);
        builder.Services.AddSandboxer<MySandboxer>(options =>
        {
            options.Name = "mine";
            options.RunDirectory = "/run/kuasar/mine";
        });
        await builder.Build().RunAsync();
    }
}
