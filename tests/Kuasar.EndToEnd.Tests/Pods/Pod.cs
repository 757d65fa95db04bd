using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Pods;

/// <summary>A pod with one busybox container, by CRI.</summary>
internal sealed class Pod : IAsyncDisposable
{
    private readonly RuntimeService.RuntimeServiceClient _cri;
    private readonly PodSandboxConfig _config;

    private Pod(Node node, string name)
    {
        _cri = node.Client.Cri;
        LogFolder = Directory.CreateDirectory(Path.Combine(node.Bed.Run, "logs", name)).FullName;
        _config = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = name, Uid = name, Namespace = "e2e" },
            LogDirectory = LogFolder,
            Linux = new LinuxPodSandboxConfig { CgroupParent = $"/kuasar-e2e-pods/{name}" },
        };
    }

    internal string Id { get; private set; } = "";

    internal string ContainerId { get; set; } = "";

    internal string LogFolder { get; }

    /// <summary>What differs from the usual container.</summary>
    internal Action<ContainerConfig>? Configure { get; set; }

    /// <param name="node">Where.</param>
    /// <param name="name">Its own on the node.</param>
    /// <param name="handler">The runtime in CRI's configuration; null for the one under test.</param>
    /// <param name="configure">Changes its configuration.</param>
    internal static async Task<Pod> RunAsync(Node node, string name, string? handler = null, Action<PodSandboxConfig>? configure = null)
    {
        var pod = new Pod(node, name);
        configure?.Invoke(pod._config);
        var response = await pod._cri.RunPodSandboxAsync(
            new RunPodSandboxRequest { Config = pod._config, RuntimeHandler = handler ?? Settings.Handler }, Options);
        pod.Id = response.PodSandboxId;
        return pod;
    }

    internal Task StartContainerAsync(LinuxContainerResources? resources, params string[] command) => StartContainerAsync("c", resources, command);

    /// <summary>One more container, which from now on is the one that is meant.</summary>
    internal async Task StartContainerAsync(string name, LinuxContainerResources? resources, params string[] command)
    {
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = name },
            Image = new ImageSpec { Image = BusyboxImage.Name },
            Command = { command },
            LogPath = $"{name}.log",
            Linux = new LinuxContainerConfig
            {
                Resources = resources ?? new LinuxContainerResources(),
                // As the kubelet does: the containers' namespaces are those of their pod.
                SecurityContext = new LinuxContainerSecurityContext { NamespaceOptions = _config.Linux.SecurityContext?.NamespaceOptions },
            },
        };
        Configure?.Invoke(config);
        ContainerId = (await _cri.CreateContainerAsync(
            new CreateContainerRequest { PodSandboxId = Id, Config = config, SandboxConfig = _config }, Options)).ContainerId;
        await _cri.StartContainerAsync(new StartContainerRequest { ContainerId = ContainerId }, Options);
    }

    internal async Task<(string Output, int ExitCode)> ExecAsync(params string[] command)
    {
        var response = await _cri.ExecSyncAsync(new ExecSyncRequest { ContainerId = ContainerId, Cmd = { command }, Timeout = 30 }, Options);
        return (response.Stdout.ToStringUtf8(), response.ExitCode);
    }

    internal async Task<ContainerStatus> ContainerStatusAsync() =>
        (await _cri.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = ContainerId }, Options)).Status;

    internal async Task<ContainerStatus> UntilExitedAsync()
    {
        ContainerStatus? status = null;
        await Within.UntilAsync(async () => (status = await ContainerStatusAsync()).State == ContainerState.ContainerExited, what: "the container's end");
        return status!;
    }

    internal async Task<PodSandboxState> StateAsync() => (await StatusAsync()).State;

    internal async Task<PodSandboxStatus> StatusAsync() =>
        (await _cri.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = Id }, Options)).Status;

    internal async Task<PodSandboxStats> PodStatsAsync() =>
        (await _cri.PodSandboxStatsAsync(new PodSandboxStatsRequest { PodSandboxId = Id }, Options)).Stats;

    internal async Task<string> PortForwardUrlAsync(int port) =>
        (await _cri.PortForwardAsync(new PortForwardRequest { PodSandboxId = Id, Port = { port } }, Options)).Url;

    /// <summary>What the sandbox tells of itself to those who want to know all.</summary>
    internal async Task<string> InfoAsync() => (await _cri.PodSandboxStatusAsync(
        new PodSandboxStatusRequest { PodSandboxId = Id, Verbose = true }, Options)).Info["info"];

    internal async Task<ContainerStats> StatsAsync() =>
        (await _cri.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = ContainerId }, Options)).Stats;

    internal async Task UpdateAsync(LinuxContainerResources resources) =>
        await _cri.UpdateContainerResourcesAsync(new UpdateContainerResourcesRequest { ContainerId = ContainerId, Linux = resources }, Options);

    internal async Task StopContainerAsync(long seconds) =>
        await _cri.StopContainerAsync(new StopContainerRequest { ContainerId = ContainerId, Timeout = seconds }, Options);

    internal async Task RemoveContainerAsync() =>
        await _cri.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = ContainerId }, Options);

    internal async Task StopAsync() => await _cri.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = Id }, Options);

    internal async Task RemoveAsync() => await _cri.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = Id }, Options);

    /// <summary>The container's log without its time stamps.</summary>
    internal async Task<string> LogAsync()
    {
        var lines = await File.ReadAllLinesAsync(Path.Combine(LogFolder, "c.log"));
        return string.Join('\n', lines.Select(line => string.Join(' ', line.Split(' ', 4)[1..])));
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            await StopAsync();
            await RemoveAsync();
        }
        catch (Grpc.Core.RpcException)
        {
            // What is left is told with the node's end.
        }
    }

    // Twenty pods at once take their time on two cores.
    private static Grpc.Core.CallOptions Options => ContainerdClient.Bound(TimeSpan.FromMinutes(2));
}
