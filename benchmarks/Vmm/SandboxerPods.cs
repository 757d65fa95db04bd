using System.Diagnostics;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Protocol.Contracts.RuntimeSandbox;
using ControlClient = Kuasar.Protocol.Contracts.Control.Control.ControlClient;
using SandboxClient = Kuasar.Protocol.Contracts.RuntimeSandbox.Sandbox.SandboxClient;
using Task = System.Threading.Tasks.Task;

namespace Vmm;

/// <summary>Pods without containers, by the calls that containerd makes.</summary>
internal sealed class SandboxerPods(TtrpcClient client) : IAsyncDisposable
{
    private readonly SandboxClient _sandboxes = new(client);

    /// <summary>The id of the last pod.</summary>
    internal string Last { get; private set; } = "";

    internal static async Task<SandboxerPods> ConnectAsync(string runDirectory)
    {
        await using var control = await TtrpcClient.ConnectAsync(Path.Combine(runDirectory, "control.sock"));
        // Nobody is there: events wait.
        var resolved = await new ControlClient(control).ResolveAsync(new ResolveRequest
        {
            Containerd = new ContainerdInstance { GrpcAddress = "/run/none.sock", TtrpcAddress = "/run/none.sock.ttrpc", Version = "2.1.9" },
            Namespace = "k8s.io",
            Id = "one",
        });
        return new SandboxerPods(await TtrpcClient.ConnectAsync(resolved.Address["unix://".Length..]));
    }

    /// <summary>How long CreateSandbox and StartSandbox take, which is until the guest has been told of the pod.</summary>
    internal async Task<TimeSpan> StartAsync(CancellationToken cancellationToken)
    {
        Last = Guid.NewGuid().ToString("N");
        var options = TypeUrl.Pack(new PodSandboxConfig { Hostname = "pod", Metadata = new PodSandboxMetadata { Name = Last } });
        var start = Stopwatch.GetTimestamp();
        await _sandboxes.CreateSandboxAsync(new CreateSandboxRequest { SandboxId = Last, Options = options }, cancellationToken: cancellationToken);
        await _sandboxes.StartSandboxAsync(new StartSandboxRequest { SandboxId = Last }, cancellationToken: cancellationToken);
        return Stopwatch.GetElapsedTime(start);
    }

    internal async Task RemoveAsync(string id, CancellationToken cancellationToken)
    {
        await _sandboxes.StopSandboxAsync(new StopSandboxRequest { SandboxId = id, TimeoutSecs = 10 }, cancellationToken: cancellationToken);
        await _sandboxes.ShutdownSandboxAsync(new ShutdownSandboxRequest { SandboxId = id }, cancellationToken: cancellationToken);
    }

    public ValueTask DisposeAsync() => client.DisposeAsync();
}
