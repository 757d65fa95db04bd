using System.Net.WebSockets;
using System.Text;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Pods;

/// <summary>Pods without a pause container, which the sandboxer owns, by either route of the Sandbox API.</summary>
public abstract class SandboxPodTestBase(TestRun run, OwnNode own) : PodTestBase(run, own)
{
    protected override string? OursOnly => "the stock runtime serves no sandboxes";

    private static NamespaceOption KubeletDefault => new() { Pid = NamespaceMode.Container };

    [Fact]
    public async Task A_pod_is_what_its_containers_share_and_no_process()
    {
        await using var pod = await RunAsync("story", config =>
        {
            config.Hostname = "story-pod";
            config.DnsConfig = new DNSConfig { Servers = { "10.9.8.7" }, Searches = { "a.example", "b.example" }, Options = { "ndots:5" } };
            config.Linux.SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = KubeletDefault };
            config.Linux.Sysctls.Add("kernel.shm_rmid_forced", "1");
            config.Linux.Sysctls.Add("net.ipv4.ip_local_port_range", "20000 30000");
        });
        await pod.StartContainerAsync("one", null, "sh", "-c",
            "echo hello >/dev/shm/note; mkdir /tmp/www; echo forwarded >/tmp/www/index.html; httpd -f -p 127.0.0.1:8080 -h /tmp/www");
        var one = await InitOfAsync(pod.ContainerId);
        await pod.StartContainerAsync("c", null, "sh", "-c", "echo to the log; exec sleep 3600");
        var two = await InitOfAsync(pod.ContainerId);
        foreach (var name in (string[])["net", "ipc", "uts"])
        {
            Assert.Equal(Namespace(one, name), Namespace(two, name));
            Assert.NotEqual(new FileInfo($"/proc/self/ns/{name}").LinkTarget, Namespace(two, name));
        }
        Assert.NotEqual(Namespace(one, "pid"), Namespace(two, "pid"));
        Assert.Equal((
            "story-pod\nstory-pod\nsearch a.example b.example\nnameserver 10.9.8.7\noptions ndots:5\nhello\n1\n20000\t30000\n0\n", 0),
            await pod.ExecAsync("sh", "-c", "hostname; cat /etc/hostname /etc/resolv.conf /dev/shm/note; cd /proc/sys; " +
                "cat kernel/shm_rmid_forced net/ipv4/ip_local_port_range net/ipv4/ip_unprivileged_port_start"));
        Assert.Equal((await File.ReadAllTextAsync("/etc/hosts", TestContext.Current.CancellationToken), 0), await pod.ExecAsync("cat", "/etc/hosts"));
        await Within.UntilAsync(async () => await pod.LogAsync() == "stdout F to the log", what: "the log");

        var status = await pod.StatusAsync();
        Assert.Equal(PodSandboxState.SandboxReady, status.State);
        Assert.NotEmpty(status.Network.Ip);
        Assert.Equal("forwarded\n", await ForwardedAsync(await pod.PortForwardUrlAsync(8080), "GET /index.html HTTP/1.0\r\n\r\n"));
        var stats = await pod.PodStatsAsync();
        Assert.True(stats.Linux.Cpu.UsageCoreNanoSeconds.Value > 0 && stats.Linux.Memory.WorkingSetBytes.Value > 0, stats.ToString());
        Assert.Equal(2, stats.Linux.Containers.Count);

        // Nobody is in the pod's namespaces but its containers.
        Assert.All(Proc.Pids().Where(pid => Namespace((uint)pid, "ipc") == Namespace(two, "ipc")).Select(Proc.Name), name => Assert.Contains(name, (string[])["sh", "httpd", "sleep"]));
        await pod.StopAsync();
        Assert.Equal(PodSandboxState.SandboxNotready, await pod.StateAsync());
        await pod.RemoveAsync();
        Assert.Empty(Proc.MountsBelow(Node.RunDirectory));
    }

    [Fact]
    public async Task Containers_may_share_their_processes()
    {
        await using var pod = await RunAsync("processes", config => config.Linux.SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = new NamespaceOption() });
        await pod.StartContainerAsync("one", null, "sleep", "1234");
        await pod.StartContainerAsync("c", null, "sleep", "3600");
        var (processes, _) = await pod.ExecAsync("ps", "-o", "pid,args");
        Assert.Contains("1 pod-init", processes, StringComparison.Ordinal);
        Assert.Contains("sleep 1234", processes, StringComparison.Ordinal);
        Assert.Equal(("", 0), await pod.ExecAsync("sh", "-c", "ls /proc/1/root/ 2>/dev/null; (true &); sleep 0.3; ps -o stat | grep Z; true"));
    }

    [Fact]
    public async Task The_end_of_a_pods_init_ends_its_containers()
    {
        await using var pod = await RunAsync("init-killed", config => config.Linux.SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = new NamespaceOption() });
        await pod.StartContainerAsync(null, "sleep", "3600");
        var init = Proc.Pids().Single(pid => Proc.Name(pid) == "pod-init" && Namespace((uint)pid, "pid") == Namespace(InitOfAsync(pod.ContainerId).Result, "pid"));
        Libc.Signal(init, Libc.SIGKILL);
        var status = await pod.UntilExitedAsync();
        Assert.Equal(137, status.ExitCode);
        await Within.UntilAsync(async () => await pod.StateAsync() == PodSandboxState.SandboxNotready, what: "the pod is not ready");
    }

    [Fact]
    public async Task A_pod_may_be_in_the_hosts_process_and_ipc_namespaces()
    {
        await using var pod = await RunAsync("host", config => config.Linux.SecurityContext = new LinuxSandboxSecurityContext
        {
            NamespaceOptions = new NamespaceOption { Pid = NamespaceMode.Node, Ipc = NamespaceMode.Node },
        });
        await pod.StartContainerAsync(null, "sleep", "3600");
        var init = await InitOfAsync(pod.ContainerId);
        foreach (var name in (string[])["pid", "ipc"])
        {
            Assert.Equal(new FileInfo($"/proc/self/ns/{name}").LinkTarget, Namespace(init, name));
        }
        Assert.NotEqual(new FileInfo("/proc/self/ns/net").LinkTarget, Namespace(init, "net"));
    }

    [Fact]
    public async Task A_pod_that_cannot_be_leaves_nothing()
    {
        foreach (var sysctl in (string[])["kernel.hostname", "net.ipv4.no_such_thing"])
        {
            var error = await Assert.ThrowsAsync<Grpc.Core.RpcException>(() => RunAsync("refused", config => config.Linux.Sysctls.Add(sysctl, "1")));
            Assert.Contains(sysctl, error.Status.Detail, StringComparison.Ordinal);
        }
        Assert.Empty(Proc.MountsBelow(Node.RunDirectory));
    }

    /// <summary>What the pod's port answers, by the streaming server's websockets: channel 0 is data, 1 is errors; each begins with the port.</summary>
    private static async Task<string> ForwardedAsync(string url, string request)
    {
        using var socket = new ClientWebSocket();
        socket.Options.AddSubProtocol("v4.channel.k8s.io");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(30));
        await socket.ConnectAsync(new Uri(url.Replace("http://", "ws://", StringComparison.Ordinal) + "?port=8080"), limit.Token);
        await socket.SendAsync((byte[])[0, .. Encoding.ASCII.GetBytes(request)], WebSocketMessageType.Binary, true, limit.Token);
        var answer = new StringBuilder();
        var buffer = new byte[64 * 1024];
        var started = false;
        while (!answer.ToString().EndsWith("forwarded\n", StringComparison.Ordinal))
        {
            var message = await socket.ReceiveAsync(buffer, limit.Token);
            Assert.NotEqual(WebSocketMessageType.Close, message.MessageType);
            if (buffer[0] == 0 && started)
            {
                answer.Append(Encoding.ASCII.GetString(buffer, 1, message.Count - 1));
            }
            started |= buffer[0] == 0;
        }
        return answer.ToString().Split("\r\n\r\n")[^1];
    }
}
