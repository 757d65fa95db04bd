using System.Text.Json.Nodes;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Pods;

/// <summary>A node whose sandboxer fails where a pod asks for it: tests/Kuasar.FaultySandboxer, as it was built with this program.</summary>
public sealed class FaultyNode(TestRun run) : OwnNode(run, "sandboxes")
{
    internal override string? Missing => OursOnly;

    protected override SandboxerPlan Plan => new()
    {
        // As this program: .../bin/Release/net10.0
        Program = Path.Combine(
            Repository.Root, "tests/Kuasar.FaultySandboxer",
            Path.GetRelativePath(Repository.Path("tests/Kuasar.EndToEnd.Tests"), AppContext.BaseDirectory), "kuasar-faulty-sandboxer"),
        HasProxy = false,
    };
}

/// <summary>Pods of containerd's shim controller, <c>sandboxer = "shim"</c>: no pause container, and the sandboxer's errors are containerd's.</summary>
/// <remarks>Never a pod on the host's network here: containerd 2.1.9 panics.</remarks>
public sealed class FaultyPodTests(TestRun run, FaultyNode own) : NodeTest(run, own), IClassFixture<FaultyNode>
{
    private const string Handler = "kuasar-runc-shim";

    protected override string? OursOnly => "the stock shim has no sandbox service of its own";

    [Fact]
    public async Task A_pod_lives_without_a_pause_container()
    {
        var pod = await Pod.RunAsync(Node, "life", Handler);
        Assert.Equal(PodSandboxState.SandboxReady, await pod.StateAsync());
        var (pid, folder) = await InfoAsync(pod);
        await pod.StartContainerAsync(null, "sh", "-c", "echo hello; exec sleep 3600");
        Assert.Equal(("yes\n", 3), await pod.ExecAsync("sh", "-c", "ip addr show eth0 >/dev/null && echo yes; exit 3"));
        await Within.UntilAsync(async () => await pod.LogAsync() == "stdout F hello", what: "the log");
        Assert.True((await pod.StatsAsync()).Memory.WorkingSetBytes.Value > 0);

        await pod.StopAsync();
        Assert.Equal(PodSandboxState.SandboxNotready, await pod.StateAsync());
        Assert.Equal(137, (await pod.ContainerStatusAsync()).ExitCode);
        Assert.False(Directory.Exists($"/proc/{pid}"));
        await pod.StopAsync();
        await pod.RemoveAsync();
        await pod.RemoveAsync();

        await NothingLeftAsync(pod, folder);
    }

    [Fact]
    public async Task The_sandboxs_own_end_ends_its_container_and_is_seen()
    {
        var pod = await Pod.RunAsync(Node, "killed", Handler);
        var (pid, folder) = await InfoAsync(pod);
        await pod.StartContainerAsync(null, "sleep", "3600");

        Libc.Signal(pid, Libc.SIGKILL);

        var status = await pod.UntilExitedAsync();
        Assert.Equal(137, status.ExitCode);
        await Within.UntilAsync(async () => await pod.StateAsync() == PodSandboxState.SandboxNotready, what: "the pod's end");
        await pod.StopAsync();
        await pod.RemoveAsync();
        await NothingLeftAsync(pod, folder);
    }

    [Theory]
    [InlineData("create")]
    [InlineData("start")]
    public async Task A_pod_that_does_not_come_up_is_told_and_leaves_nothing(string step)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => Pod.RunAsync(Node, $"fails-{step}", Handler, config => config.Annotations["fault"] = step));

        Assert.Contains($"a fault in {step}", error.Status.Detail, StringComparison.Ordinal);
        await Within.UntilAsync(() => Sandboxes().Length == 0, what: $"nothing of it: {string.Join(' ', Sandboxes())}");
        Assert.DoesNotContain(await Node.Bed.LeftoversAsync(), "/k/sandboxes/", StringComparison.Ordinal);
        // The same name is free.
        await using var pod = await Pod.RunAsync(Node, $"fails-{step}", Handler);
    }

    [Fact]
    public async Task A_stop_that_fails_is_told_and_tried_again_by_the_next()
    {
        var pod = await Pod.RunAsync(Node, "stop", Handler, config => config.Annotations["fault"] = "stop");
        var (_, folder) = await InfoAsync(pod);
        await pod.StartContainerAsync(null, "sleep", "3600");

        var error = await Assert.ThrowsAsync<RpcException>(pod.StopAsync);

        Assert.Contains("a fault in stop", error.Status.Detail, StringComparison.Ordinal);
        await pod.StopAsync();
        Assert.Equal(PodSandboxState.SandboxNotready, await pod.StateAsync());
        await pod.RemoveAsync();
        await NothingLeftAsync(pod, folder);
    }

    [Fact]
    public async Task A_dispose_that_fails_keeps_nobody()
    {
        var pod = await Pod.RunAsync(Node, "dispose", Handler, config => config.Annotations["fault"] = "dispose");
        var (pid, folder) = await InfoAsync(pod);

        await pod.RemoveAsync();

        Assert.False(Directory.Exists($"/proc/{pid}"));
        await NothingLeftAsync(pod, folder);
    }

    [Fact]
    public async Task Many_pods_at_once_have_a_process_each_and_nothing_else()
    {
        var pods = await Task.WhenAll(Enumerable.Range(0, 10).Select(i => Pod.RunAsync(Node, $"many-{i}", Handler)));
        await Task.WhenAll(pods.Select(pod => pod.StartContainerAsync(null, "sleep", "3600")));
        Assert.Equal(10, Sandboxes().Length);
        await Task.WhenAll(pods.Select(pod => pod.StopAsync()));
        await Task.WhenAll(pods.Select(pod => pod.RemoveAsync()));
        Assert.Empty(Sandboxes());
    }

    [Fact]
    public async Task A_pod_outlives_a_restart_of_containerd()
    {
        var pod = await Pod.RunAsync(Node, "restart", Handler);
        await pod.StartContainerAsync(null, "sleep", "3600");
        var (pid, folder) = await InfoAsync(pod);

        await Node.Bed.StopAsync();
        await Node.Bed.StartAsync();
        await Node.ReopenEventsAsync();

        Assert.Equal(PodSandboxState.SandboxReady, await pod.StateAsync());
        Assert.Equal(("on\n", 0), await pod.ExecAsync("echo", "on"));
        Assert.True(Directory.Exists($"/proc/{pid}"));
        await pod.StopAsync();
        Assert.Equal(PodSandboxState.SandboxNotready, await pod.StateAsync());
        await pod.RemoveAsync();
        await NothingLeftAsync(pod, folder);
    }

    [Fact]
    public async Task With_its_sandboxer_a_pod_goes_with_all_that_is_in_it()
    {
        var pod = await Pod.RunAsync(Node, "death", Handler);
        await pod.StartContainerAsync(null, "sleep", "3600");
        var (pid, folder) = await InfoAsync(pod);
        var container = await InitOfAsync(pod.ContainerId);

        await Node.Sandboxer!.KillAsync();

        // The pod's `delete` ends its container too: containerd runs none for that.
        await Within.UntilAsync(() => !Directory.Exists($"/proc/{pid}") && !Directory.Exists($"/proc/{container}"), what: "their end");
        await Within.UntilAsync(async () => await pod.StateAsync() == PodSandboxState.SandboxNotready, what: "the pod's end");
        await pod.UntilExitedAsync();
        await Node.StartSandboxerAsync();
        await pod.StopAsync();
        await pod.RemoveAsync();
        // The sandboxer finishes what the shim has ended.
        await Within.UntilAsync(() => !Directory.Exists(folder), what: "the folder's end");
        await using var next = await Pod.RunAsync(Node, "death", Handler);
    }

    private static async Task<(int Pid, string Folder)> InfoAsync(Pod pod)
    {
        var info = JsonNode.Parse(await pod.InfoAsync())!;
        return ((int)info["pid"]!, (string)info["folder"]!);
    }

    private async Task<uint> InitOfAsync(string id)
    {
        using var client = new ContainerdClient(Node.Bed.Socket, "k8s.io");
        return (await client.Tasks.GetAsync(new() { ContainerId = id }, ContainerdClient.Options)).Process.Pid;
    }

    private string[] Sandboxes()
    {
        var all = Path.Combine(Node.RunDirectory, "sandboxes");
        return Directory.Exists(all) ? Directory.GetDirectories(all).SelectMany(Directory.GetDirectories).SelectMany(Directory.GetDirectories).ToArray() : [];
    }

    private async Task NothingLeftAsync(Pod pod, string folder)
    {
        Assert.False(Directory.Exists(folder));
        Assert.DoesNotContain(folder, await File.ReadAllTextAsync("/proc/self/mountinfo"), StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(Node.Bed.Run, "state/io.containerd.sandbox.controller.v1.shim/k8s.io", pod.Id)));
    }
}
