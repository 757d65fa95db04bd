using System.Globalization;
using System.Net.Http;
using Kuasar.EndToEnd.Tests.Pods;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Guests;

/// <summary>What a kubelet does with pods that are virtual machines.</summary>
[Collection(GuestTests.Name)]
public sealed class GuestPodTests(TestRun run, GuestNode own) : NodeTest(run, own)
{
    private const long MiB = 1 << 20;

    /// <summary>The guest has cgroups v2, whatever the host has.</summary>
    private const string MemoryLimit = "cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max";

    /// <summary>The agent is the guest's pid 1, which no signal ends: its code becomes zeros.</summary>
    private const string OverwriteAgent =
        "set -- $(grep -m1 'r-xp.*/init' /proc/1/maps); from=$((0x${1%%-*})); to=$((0x${1##*-})); " +
        "dd if=/dev/zero of=/proc/1/mem bs=4096 seek=$((from/4096)) count=$(((to-from)/4096)) conv=notrunc";

    /// <summary>Within so much of what has ended it, a pod has ended.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(2);

    [Theory]
    [InlineData(GuestNode.ByShim)]
    [InlineData(GuestNode.ByProxy)]
    public async Task A_pod_is_a_guest_and_its_containers_are_in_it(string handler)
    {
        var folder = Directory.CreateDirectory(Path.Combine(Node.Bed.Run, "volume-" + handler)).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "from"), "the host\n", TestContext.Current.CancellationToken);
        await using var pod = await RunAsync("story-" + handler, handler, config =>
        {
            config.Hostname = "story-pod";
            config.DnsConfig = new DNSConfig { Servers = { "10.9.8.7" } };
            config.Linux.Sysctls.Add("net.ipv4.ip_local_port_range", "20000 30000");
        });
        await pod.StartContainerAsync("one", null, "sh", "-c", "echo hello >/dev/shm/note; mkdir /tmp/www; echo served >/tmp/www/index.html; httpd -f -p 80 -h /tmp/www");
        pod.Configure = config => config.Mounts.Add(new Mount { HostPath = folder, ContainerPath = "/volume" });
        await pod.StartContainerAsync("c", new LinuxContainerResources { MemoryLimitInBytes = 64 * MiB }, "sh", "-c", "echo to the log; exec sleep 3600");

        var (kernel, _) = await pod.ExecAsync("uname", "-r");
        Assert.NotEqual(await File.ReadAllTextAsync("/proc/sys/kernel/osrelease", TestContext.Current.CancellationToken), kernel);
        Assert.Equal(("story-pod\nstory-pod\nnameserver 10.9.8.7\n", 0), await pod.ExecAsync("sh", "-c", "hostname; cat /etc/hostname /etc/resolv.conf"));
        Assert.Equal(("hello\n20000\t30000\n", 0), await pod.ExecAsync("cat", "/dev/shm/note", "/proc/sys/net/ipv4/ip_local_port_range"));
        Assert.Equal(("67108864\n", 0), await pod.ExecAsync("sh", "-c", MemoryLimit));
        Assert.Equal(("the host\n", 7), await pod.ExecAsync("sh", "-c", "cat /volume/from; echo the guest >/volume/to; exit 7"));
        Assert.Equal("the guest\n", await File.ReadAllTextAsync(Path.Combine(folder, "to"), TestContext.Current.CancellationToken));
        await Within.UntilAsync(async () => await pod.LogAsync() == "stdout F to the log", what: "the log");

        var status = await pod.StatusAsync();
        Assert.Equal(PodSandboxState.SandboxReady, status.State);
        using (var http = new HttpClient { Timeout = TimeSpan.FromSeconds(20) })
        {
            Assert.Equal("served\n", await http.GetStringAsync(new Uri($"http://{status.Network.Ip}/"), TestContext.Current.CancellationToken));
        }
        var stats = await pod.StatsAsync();
        Assert.True(stats.Memory.WorkingSetBytes.Value > 0 && stats.Cpu.UsageCoreNanoSeconds.Value > 0, stats.ToString());
        await pod.UpdateAsync(new LinuxContainerResources { MemoryLimitInBytes = 32 * MiB });
        Assert.Equal(("33554432\n", 0), await pod.ExecAsync("sh", "-c", MemoryLimit));

        var machine = own.MachineOf(pod);
        await pod.StopAsync();
        Assert.Equal(PodSandboxState.SandboxNotready, await pod.StateAsync());
        var end = await pod.ContainerStatusAsync();
        Assert.Equal((ContainerState.ContainerExited, 137), (end.State, end.ExitCode));
        await RemoveAsync(pod, machine);
    }

    [Fact]
    public async Task Containers_end_with_their_own_codes_and_one_that_cannot_be_harms_nobody()
    {
        await using var pod = await RunAsync("ends", GuestNode.ByProxy);
        await pod.StartContainerAsync("code", null, "sh", "-c", "exit 42");
        Assert.Equal((42, "Error"), await EndAsync());
        await pod.StartContainerAsync("oom", new LinuxContainerResources { MemoryLimitInBytes = 16 * MiB, MemorySwapLimitInBytes = 16 * MiB }, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=8");
        Assert.Equal((137, "OOMKilled"), await EndAsync());
        await pod.StartContainerAsync("c", null, "sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done");
        await Within.UntilAsync(async () => await pod.LogAsync() == "stdout F ready", what: "the log");
        await pod.StopContainerAsync(10);
        Assert.Equal((7, "Error"), await EndAsync());
        var error = await Assert.ThrowsAsync<Grpc.Core.RpcException>(() => pod.StartContainerAsync("none", null, "/no/such/program"));
        Assert.Contains("/no/such/program", error.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(PodSandboxState.SandboxReady, await pod.StateAsync());
        await pod.StartContainerAsync("again", null, "true");
        Assert.Equal((0, "Completed"), await EndAsync());

        async Task<(int, string)> EndAsync()
        {
            var status = await pod.UntilExitedAsync();
            return (status.ExitCode, status.Reason);
        }
    }

    [Fact]
    public async Task Two_pods_at_once_are_two_machines_that_reach_each_other_and_end_alone()
    {
        var pods = await Task.WhenAll(RunAsync("two-a", GuestNode.ByShim), RunAsync("two-b", GuestNode.ByProxy));
        await using var one = pods[0];
        await using var other = pods[1];
        await Task.WhenAll(pods.Select((pod, i) => pod.StartContainerAsync(
            null, "sh", "-c", string.Create(CultureInfo.InvariantCulture, $"mkdir /tmp/www; echo {i} >/tmp/www/index.html; httpd -f -p 80 -h /tmp/www"))));
        var boots = await Task.WhenAll(pods.Select(pod => pod.ExecAsync("cat", "/proc/sys/kernel/random/boot_id")));
        Assert.NotEqual(boots[0].Output, boots[1].Output);
        Assert.Equal(("1\n", 0), await GetAsync(one, other));
        Assert.Equal(("0\n", 0), await GetAsync(other, one));

        Libc.Signal(own.MachineOf(one)["qemu-system"], Libc.SIGKILL);
        await one.UntilExitedAsync();
        Assert.Equal(("alive\n", 0), await other.ExecAsync("echo", "alive"));
        Assert.Equal(PodSandboxState.SandboxReady, await other.StateAsync());

        // A static busybox's wget falls over a host's name.
        static async Task<(string, int)> GetAsync(Pod from, Pod to) => await from.ExecAsync(
            "sh", "-c", $"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {(await to.StatusAsync()).Network.Ip} 80 | tail -n 1");
    }

    [Theory]
    [InlineData("qemu-system", GuestNode.ByShim)]
    [InlineData("virtiofsd", GuestNode.ByProxy)]
    [InlineData("vhost-device-vsock", GuestNode.ByShim)]
    public async Task A_process_of_the_machine_that_is_killed_ends_the_pod(string process, string handler)
    {
        var pod = await RunAsync("killed-" + process, handler);
        await pod.StartContainerAsync(null, "sleep", "3600");
        var machine = own.MachineOf(pod);
        await EndsAsync(pod, machine, () =>
        {
            Libc.Signal(machine[process], Libc.SIGKILL);
            return Task.CompletedTask;
        });
    }

    [Theory]
    [InlineData("echo c >/proc/sysrq-trigger", GuestNode.ByProxy)]
    [InlineData(OverwriteAgent, GuestNode.ByShim)]
    public async Task A_guest_that_panics_or_loses_its_agent_ends_the_pod(string command, string handler)
    {
        var pod = await RunAsync("panic-" + handler, handler, config =>
            config.Linux.SecurityContext = new LinuxSandboxSecurityContext { Privileged = true, NamespaceOptions = new NamespaceOption { Pid = NamespaceMode.Node } });
        pod.Configure = config => config.Linux.SecurityContext.Privileged = true;
        await pod.StartContainerAsync(null, "sleep", "3600");
        await EndsAsync(pod, own.MachineOf(pod), async () =>
        {
            try
            {
                await pod.ExecAsync("sh", "-c", command);
            }
            catch (Grpc.Core.RpcException)
            {
                // Nobody may be left to answer.
            }
        });
    }

    /// <summary>All that is in a pod ends with what has been done to it, in time; then it goes as any other.</summary>
    private async Task EndsAsync(Pod pod, IReadOnlyDictionary<string, int> machine, Func<Task> end)
    {
        await using (pod)
        {
            var exec = pod.ExecAsync("sleep", "3600");
            var began = DateTimeOffset.UtcNow;
            var done = end();
            var status = await pod.UntilExitedAsync();
            Assert.Equal((ContainerState.ContainerExited, 137), (status.State, status.ExitCode));
            var took = DateTimeOffset.FromUnixTimeMilliseconds(status.FinishedAt / 1_000_000) - began;
            Assert.True(took < s_limit, $"{took} until its end");
            await Within.UntilAsync(async () => await pod.StateAsync() == PodSandboxState.SandboxNotready, what: "the pod is not ready");
            TestContext.Current.TestOutputHelper?.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"ended {took.TotalMilliseconds:0} ms after, seen after {(DateTimeOffset.UtcNow - began).TotalMilliseconds:0} ms"));
            await Task.WhenAll(exec, done).BoundAsync().ContinueWith(_ => { }, TaskScheduler.Default);
            Assert.True(exec.IsCompleted && done.IsCompleted, "an exec does not end");
            await pod.StopAsync();
            await RemoveAsync(pod, machine);
        }
    }

    private async Task RemoveAsync(Pod pod, IReadOnlyDictionary<string, int> machine)
    {
        await pod.RemoveAsync();
        Assert.DoesNotContain(machine.Values, Proc.Runs);
        Assert.Null(own.LinkOf(pod));
        Assert.DoesNotContain(Proc.MountsBelow(Node.RunDirectory), point => point.Contains(pod.Id, StringComparison.Ordinal));
        Assert.DoesNotContain(Node.Records(), file => file.Contains(pod.Id, StringComparison.Ordinal));
    }

    private Task<Pod> RunAsync(string name, string handler, Action<PodSandboxConfig>? configure = null) => Pod.RunAsync(Node, name, handler, configure);
}
