using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Protocol.Contracts.SandboxServices;
using Kuasar.Testing;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Pods;

public sealed class ProxyRouteNode(TestRun run) : OwnNode(run, "proxy")
{
    internal override string? Missing => OursOnly ?? ProxyPluginsOnly;
}

/// <summary>By a proxy plugin, which is the sandboxer itself: gRPC for sandboxes, ttrpc on another socket for tasks.</summary>
public sealed class ProxyRouteTests(TestRun run, ProxyRouteNode own) : SandboxPodTestBase(run, own), IClassFixture<ProxyRouteNode>
{
    protected override string Handler => "kuasar-runc-proxy";

    [Fact]
    public async Task Tasks_have_an_address_of_their_own_and_keep_it_when_containerd_restarts()
    {
        await using var pod = await RunAsync("address");
        await pod.StartContainerAsync(null, "sleep", "3600");
        var before = await StatusAsync(pod.Id);
        Assert.Equal((3u, "SANDBOX_READY"), (before.Version, before.State));
        Assert.StartsWith("ttrpc+unix://", before.Address, StringComparison.Ordinal);
        var socket = before.Address["ttrpc+unix://".Length..];
        Assert.True(File.Exists(socket));
        Assert.NotEqual(Node.ProxySocket, socket);

        await Node.Bed.StopAsync();
        await Node.Bed.StartAsync();
        await Node.ReopenEventsAsync();

        Assert.Equal(before.Address, (await StatusAsync(pod.Id)).Address);
        Assert.Equal(PodSandboxState.SandboxReady, await pod.StateAsync());
        Assert.Equal(("on\n", 0), await pod.ExecAsync("echo", "on"));
        await pod.StartContainerAsync("late", null, "sleep", "3600");
        Assert.Equal(("late\n", 0), await pod.ExecAsync("echo", "late"));
    }

    [Fact]
    public async Task Hundreds_of_waits_on_one_connection_hold_up_no_call()
    {
        using var channel = ContainerdChannel.ForSocket(Node.ProxySocket);
        var controller = new Controller.ControllerClient(channel.Invoker);
        var headers = new Metadata { { "containerd-namespace", "k8s.io" } };
        await using var pod = await RunAsync("waits");
        // As containerd has one for every pod of a node.
        var waits = Enumerable.Range(0, 300)
            .Select(_ => controller.WaitAsync(new ControllerWaitRequest { SandboxId = pod.Id }, headers, DateTime.UtcNow.AddMinutes(1)).ResponseAsync).ToArray();
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal("SANDBOX_READY", (await controller.StatusAsync(new ControllerStatusRequest { SandboxId = pod.Id }, headers, DateTime.UtcNow.AddSeconds(10))).State);
        }
        Assert.DoesNotContain(waits, wait => wait.IsCompleted);
        await pod.StopAsync();
        await Task.WhenAll(waits).BoundAsync();
    }

    [Fact]
    public async Task A_pod_may_have_the_hosts_network()
    {
        await using var pod = await RunAsync("hostnet", config => config.Linux.SecurityContext = new LinuxSandboxSecurityContext
        {
            NamespaceOptions = new NamespaceOption { Network = NamespaceMode.Node, Pid = NamespaceMode.Container },
        });
        await pod.StartContainerAsync(null, "sleep", "3600");
        var init = await InitOfAsync(pod.ContainerId);
        foreach (var name in (string[])["net", "uts"])
        {
            Assert.Equal(new FileInfo($"/proc/self/ns/{name}").LinkTarget, Namespace(init, name));
        }
        Assert.NotEqual(new FileInfo("/proc/self/ns/ipc").LinkTarget, Namespace(init, "ipc"));
    }

    [Fact]
    public async Task What_nobody_has_created_is_not_found_and_what_somebody_has_is_not_harmed()
    {
        using var channel = ContainerdChannel.ForSocket(Node.ProxySocket);
        var controller = new Controller.ControllerClient(channel.Invoker);
        var headers = new Metadata { { "containerd-namespace", "k8s.io" } };
        await using var pod = await RunAsync("duplicate");
        await pod.StartContainerAsync(null, "sleep", "3600");

        Assert.Equal(StatusCode.AlreadyExists, await CodeAsync(() => controller.CreateAsync(new ControllerCreateRequest { SandboxId = pod.Id }, headers)));
        Assert.Equal(StatusCode.FailedPrecondition, await CodeAsync(() => controller.StartAsync(new ControllerStartRequest { SandboxId = pod.Id }, headers)));
        foreach (var call in (Func<Task>[])
        [
            async () => await controller.StartAsync(new ControllerStartRequest { SandboxId = "none" }, headers),
            async () => await controller.StopAsync(new ControllerStopRequest { SandboxId = "none" }, headers),
            async () => await controller.StatusAsync(new ControllerStatusRequest { SandboxId = "none" }, headers),
            async () => await controller.WaitAsync(new ControllerWaitRequest { SandboxId = "none" }, headers),
            async () => await controller.ShutdownAsync(new ControllerShutdownRequest { SandboxId = "none" }, headers),
        ])
        {
            Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(call)).StatusCode);
        }
        Assert.Equal(StatusCode.InvalidArgument, await CodeAsync(() => controller.CreateAsync(new ControllerCreateRequest { SandboxId = "../up" }, headers)));
        Assert.Equal(StatusCode.InvalidArgument, await CodeAsync(() => controller.CreateAsync(new ControllerCreateRequest { SandboxId = "fine" })));
        Assert.Equal(("alive\n", 0), await pod.ExecAsync("echo", "alive"));
    }

    // The CRI of 2.1.9 has no call for it; this is what that of later versions sends.
    [Fact]
    public async Task Limits_of_a_pod_can_be_changed()
    {
        await using var pod = await RunAsync("pod-update");
        await pod.StartContainerAsync(null, "sleep", "3600");
        var init = await InitOfAsync(pod.ContainerId);
        using var channel = ContainerdChannel.ForSocket(Node.ProxySocket);
        var controller = new Controller.ControllerClient(channel.Invoker);
        var headers = new Metadata { { "containerd-namespace", "k8s.io" } };

        await controller.UpdateAsync(Update("""
            {
              "Overhead": { "memory_limit_in_bytes": 16777216, "cpu_period": 100000, "cpu_quota": 5000 },
              "Resources": { "memory_limit_in_bytes": 134217728, "cpu_period": 100000, "cpu_quota": 25000, "hugepage_limits": [] }
            }
            """), headers);

        Assert.Equal(144 << 20, Cgroup.MemoryLimit(init, above: true));
        Assert.Equal((30000, 100000), Cgroup.CpuQuota(init, above: true));
        Assert.Equal(StatusCode.InvalidArgument, await CodeAsync(() => controller.UpdateAsync(Update("[]"), headers)));
        Assert.Equal(("alive\n", 0), await pod.ExecAsync("echo", "alive"));

        ControllerUpdateRequest Update(string json) => new()
        {
            SandboxId = pod.Id,
            Sandbox = new() { SandboxId = pod.Id, Extensions = { ["updated-resources"] = new() { TypeUrl = "io.containerd.cri.v1/UpdatedResources", Value = ByteString.CopyFromUtf8(json) } } },
            Fields = { "extensions.updated-resources" },
        };
    }

    private static async Task<StatusCode> CodeAsync<T>(Func<AsyncUnaryCall<T>> call) =>
        (await Assert.ThrowsAsync<RpcException>(async () => await call())).StatusCode;

    private async Task<ControllerStatusResponse> StatusAsync(string id)
    {
        using var channel = ContainerdChannel.ForSocket(Node.ProxySocket);
        return await new Controller.ControllerClient(channel.Invoker).StatusAsync(
            new ControllerStatusRequest { SandboxId = id }, new Metadata { { "containerd-namespace", "k8s.io" } });
    }
}
