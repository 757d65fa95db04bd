using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Pods;

/// <summary>What a kubelet does, whatever containerd makes of a pod.</summary>
public abstract class PodTestBase(TestRun run, OwnNode own) : NodeTest(run, own)
{
    private const long MiB = 1 << 20;

    /// <summary>The runtime's name in CRI's configuration: it says by which route.</summary>
    protected abstract string Handler { get; }

    [Fact]
    public async Task Twenty_pods_at_once_run_and_are_served_by_one_sandboxer()
    {
        var pods = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => RunAsync($"many-{i}")));
        await Task.WhenAll(pods.Select((pod, i) => pod.StartContainerAsync(null, "sh", "-c", $"echo I am {i}; trap 'exit 7' TERM; while :; do sleep 0.1; done")));
        var outputs = await Task.WhenAll(pods.Select((pod, i) => pod.ExecAsync("sh", "-c", $"echo exec {i}; exit {i}")));
        Assert.Equal(Enumerable.Range(0, 20).Select(i => ($"exec {i}\n", i)), outputs);
        Assert.All(await Task.WhenAll(pods.Select(pod => pod.StatsAsync())), stats =>
            Assert.True(stats.Memory.WorkingSetBytes.Value > 0 && stats.Cpu.UsageCoreNanoSeconds.Value > 0, stats.ToString()));
        foreach (var (pod, i) in pods.Select((pod, i) => (pod, i)))
        {
            await Within.UntilAsync(async () => await pod.LogAsync() == $"stdout F I am {i}", what: $"the log of pod {i}");
        }
        // The stock runtime's are found, so ours would be.
        Assert.Equal(Settings.IsOurs ? 0 : 20, Processes("containerd-shim").Count);
        // With its keeper.
        Assert.Equal(Settings.IsOurs ? 2 : 0, Processes("kuasar-runc-sandboxer").Count);
        await Task.WhenAll(pods.Select(pod => pod.StopContainerAsync(10)));
        Assert.All(await Task.WhenAll(pods.Select(pod => pod.ContainerStatusAsync())), status =>
            Assert.Equal((ContainerState.ContainerExited, 7), (status.State, status.ExitCode)));
        await Task.WhenAll(pods.Select(pod => pod.RemoveContainerAsync()));
        await Task.WhenAll(pods.Select(pod => pod.StopAsync()));
        await Task.WhenAll(pods.Select(pod => pod.RemoveAsync()));
        await NothingLeftAsync();
    }

    [Fact]
    public async Task An_NRI_plugin_of_ours_sees_pods_and_adjusts_their_containers()
    {
        await using var before = await RunAsync("before");
        using var plugin = new PluginProcess(Path.Combine(Node.Bed.Run, "nri.sock"));
        await plugin.SaysAsync("registered");
        await plugin.SaysAsync("configured by containerd");
        await plugin.SaysAsync("synchronized: 1 pods, 0 containers");
        await using (var pod = await RunAsync("adjusted"))
        {
            await pod.StartContainerAsync(null, "sleep", "3600");
            Assert.Equal(("adjusted\n", 0), await pod.ExecAsync("sh", "-c", "echo $POD_NAME"));
            await pod.StopContainerAsync(0);
            await pod.RemoveContainerAsync();
        }
        await plugin.SaysAsync("RunPodSandbox e2e/adjusted");
        await plugin.SaysAsync("create e2e/adjusted/c");
        await plugin.SaysAsync("RemoveContainer e2e/adjusted c");
        Assert.Equal(0, await plugin.StopAsync());
        // containerd goes on without it.
        await before.StartContainerAsync(null, "sleep", "3600");
        Assert.Equal(("none\n", 0), await before.ExecAsync("sh", "-c", "echo ${POD_NAME-none}"));
    }

    [Fact]
    public async Task A_pods_container_is_told_out_of_memory()
    {
        await using var pod = await RunAsync("oom");
        await pod.StartContainerAsync(new LinuxContainerResources { MemoryLimitInBytes = 32 * MiB, MemorySwapLimitInBytes = 32 * MiB },
            "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=8");
        var status = await pod.UntilExitedAsync();
        Assert.Equal((137, "OOMKilled"), (status.ExitCode, status.Reason));
    }

    [Fact]
    public async Task Limits_of_a_pods_container_can_be_changed()
    {
        await using var pod = await RunAsync("update");
        await pod.StartContainerAsync(new LinuxContainerResources { MemoryLimitInBytes = 64 * MiB }, "sleep", "3600");
        var pid = await InitOfAsync(pod.ContainerId);
        Assert.Equal(64 * MiB, Cgroup.MemoryLimit(pid));
        await pod.UpdateAsync(new LinuxContainerResources { MemoryLimitInBytes = 128 * MiB, CpuQuota = 25000, CpuPeriod = 100000 });
        Assert.Equal(128 * MiB, Cgroup.MemoryLimit(pid));
        Assert.Equal((25000, 100000), Cgroup.CpuQuota(pid));
    }

    [Fact]
    public async Task A_pod_ends_with_all_that_is_in_it()
    {
        var pod = await RunAsync("end");
        await pod.StartContainerAsync(null, "sleep", "3600");
        await pod.StopAsync();
        Assert.Equal(PodSandboxState.SandboxNotready, await pod.StateAsync());
        var status = await pod.ContainerStatusAsync();
        Assert.Equal((ContainerState.ContainerExited, 137), (status.State, status.ExitCode));
        await pod.RemoveAsync();
    }

    [Fact]
    public async Task A_container_that_cannot_start_leaves_its_pod_as_it_was()
    {
        await using var pod = await RunAsync("broken");
        var error = await Assert.ThrowsAsync<Grpc.Core.RpcException>(() => pod.StartContainerAsync(null, "/no/such/program"));
        Assert.Contains("/no/such/program", error.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(PodSandboxState.SandboxReady, await pod.StateAsync());
        await pod.RemoveContainerAsync();
        await pod.StartContainerAsync(null, "sleep", "3600");
        Assert.Equal(("fine\n", 0), await pod.ExecAsync("echo", "fine"));
    }

    private protected static string? Namespace(uint pid, string name) => new FileInfo($"/proc/{pid}/ns/{name}").LinkTarget;

    private protected Task<Pod> RunAsync(string name, Action<PodSandboxConfig>? configure = null) => Pod.RunAsync(Node, name, Handler, configure: configure);

    private protected async Task<uint> InitOfAsync(string id)
    {
        using var client = new ContainerdClient(Node.Bed.Socket, "k8s.io");
        return (await client.Tasks.GetAsync(new() { ContainerId = id }, ContainerdClient.Options)).Process.Pid;
    }

    // Of this node: others run beside it.
    private protected List<string> Processes(string name) =>
    [
        .. Proc.Pids().Where(pid => Proc.Name(pid).StartsWith(name[..Math.Min(name.Length, 15)], StringComparison.Ordinal)
                || Path.GetFileName(Proc.CommandLine(pid).Split(' ')[0]).StartsWith(name, StringComparison.Ordinal))
            .Select(Proc.CommandLine).Where(line => line.Contains(Node.Bed.Run + "/", StringComparison.Ordinal)),
    ];

    private async Task NothingLeftAsync()
    {
        await Within.UntilAsync(() => Processes("containerd-shim").Count == 0, what: "no shim is left");
        Assert.Empty(Proc.MountsBelow(Path.Combine(Node.Bed.Run, "state")));
        Assert.Empty(Directory.Exists(Node.Bed.Bundle("k8s.io", "")) ? Directory.EnumerateFileSystemEntries(Node.Bed.Bundle("k8s.io", "")) : []);
    }
}
