using System.Net.Sockets;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Kuasar.Packages.Tests;

/// <summary>AddSandboxer in a generic host.</summary>
public sealed class GenericHostTests
{
    [Fact]
    public async Task A_host_serves_the_control_socket_from_start_to_stop()
    {
        var folder = Directory.CreateTempSubdirectory("kuasar-host-").FullName;
        try
        {
            // Twice: what the first has left must not be in the way of the second.
            for (var i = 0; i < 2; i++)
            {
                var builder = Host.CreateEmptyApplicationBuilder(null);
                builder.Services.AddLogging().AddSandboxer<Nothing>(options =>
                {
                    options.Name = "hosted";
                    options.RunDirectory = Path.Combine(folder, "run");
                });
                using var host = builder.Build();
                await host.StartAsync().BoundAsync();
                var socket = Path.Combine(folder, "run/control.sock");
                await using (var client = await TtrpcClient.ConnectAsync(socket))
                {
                    await CallAsync(client);
                }
                await host.StopAsync().BoundAsync();
                await Assert.ThrowsAnyAsync<SocketException>(() => TtrpcClient.ConnectAsync(socket).AsTask());
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task CallAsync(TtrpcClient client)
    {
        var info = await new Control.ControlClient(client).InfoAsync(new InfoRequest(), deadline: DateTime.UtcNow.AddSeconds(30));
        Assert.NotNull(info);
    }

    internal sealed class Nothing : Sandboxer
    {
        public override Task<Sandbox.Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken) =>
            throw new SandboxException(SandboxError.Unimplemented, "no sandboxes here");
    }
}
