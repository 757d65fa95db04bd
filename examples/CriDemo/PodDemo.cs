using Grpc.Core;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace CriDemo;

/// <summary>Something is not as it should be; the message says what.</summary>
internal sealed class DemoException(string message) : Exception(message);

/// <summary>The pod: a web server on 127.0.0.1 and a client that asks it once a second.</summary>
internal sealed class PodDemo(CallInvoker invoker)
{
    private const string Name = "kuasar-demo", Label = "kuasar-demo", Answer = "hello from the other container";

    private const string Server = $"mkdir /tmp/www; echo '{Answer}' >/tmp/www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp/www";

    // The address of eth0, then what the server says. Ends with code 3 when it is asked to.
    private const string Client = """
        trap 'exit 3' TERM
        while :; do
          echo "$(ip -4 -o addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }') $(wget -q -O - http://127.0.0.1:8080/ 2>&1)"
          sleep 1
        done
        """;

    private readonly RuntimeService.RuntimeServiceClient _cri = new(invoker);

    // A container shares the pod's network and IPC, but not its processes: what the kubelet asks for by default.
    private static NamespaceOption Namespaces => new() { Pid = NamespaceMode.Container };

    private static CallOptions Bound => new(deadline: DateTime.UtcNow.AddMinutes(1));

    internal async Task UpAsync(string runtime, string image, string logs)
    {
        var version = await _cri.VersionAsync(new VersionRequest(), Bound);
        Say($"{version.RuntimeName} {version.RuntimeVersion} answers CRI {version.RuntimeApiVersion}");
        await RemoveAsync(logs);

        Directory.CreateDirectory(logs);
        var pod = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = Name, Namespace = "default", Uid = Guid.NewGuid().ToString() },
            Hostname = Name,
            LogDirectory = logs,
            Labels = { [Label] = "pod" },
            Linux = new LinuxPodSandboxConfig { SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = Namespaces } },
        };
        var podId = (await _cri.RunPodSandboxAsync(new RunPodSandboxRequest { Config = pod, RuntimeHandler = runtime }, Bound)).PodSandboxId;
        var status = (await _cri.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = podId }, Bound)).Status;
        Check(status.State == PodSandboxState.SandboxReady, "the pod is not ready");
        Check(status.Network.Ip.Length > 0, "the pod has no address");
        Say($"pod {Short(podId)} is ready, runtime {runtime}, address {status.Network.Ip}: the sandbox runs, in a network of its own");

        var server = await StartAsync(podId, pod, image, "server", Server);
        var client = await StartAsync(podId, pod, image, "client", Client);
        Say($"containers {Short(server)} (server) and {Short(client)} (client) run: two containers share the pod");

        await CheckLogAsync(Path.Combine(logs, "client.log"), $"{status.Network.Ip} {Answer}");
        await CheckExecAsync(client);
        await CheckStatsAsync(server);
    }

    internal async Task DownAsync(string logs)
    {
        var running = new ContainerFilter { LabelSelector = { [Label] = "client" }, State = new ContainerStateValue { State = ContainerState.ContainerRunning } };
        foreach (var client in (await _cri.ListContainersAsync(new ListContainersRequest { Filter = running }, Bound)).Containers)
        {
            await _cri.StopContainerAsync(new StopContainerRequest { ContainerId = client.Id, Timeout = 20 }, Bound);
            var status = (await _cri.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = client.Id }, Bound)).Status;
            Check(status.State == ContainerState.ContainerExited && status.ExitCode == 3, $"the client ended with {status.ExitCode}, not with 3");
            Say("the client ended with code 3: TERM reached its handler, and the code of its exit came back");
        }
        var removed = await RemoveAsync(logs);
        Check(removed > 0, "there was no pod to remove");
        Check((await PodsAsync()).Count == 0, "the pod is still listed");
        Say($"{removed} pod removed: containers, sandbox and network are gone");
    }

    private async Task<string> StartAsync(string podId, PodSandboxConfig pod, string image, string name, string script)
    {
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = name },
            Image = new ImageSpec { Image = image },
            Command = { "sh", "-c", script },
            LogPath = name + ".log",
            Labels = { [Label] = name },
            Linux = new LinuxContainerConfig { SecurityContext = new LinuxContainerSecurityContext { NamespaceOptions = Namespaces } },
        };
        var request = new CreateContainerRequest { PodSandboxId = podId, Config = config, SandboxConfig = pod };
        var id = (await _cri.CreateContainerAsync(request, Bound)).ContainerId;
        await _cri.StartContainerAsync(new StartContainerRequest { ContainerId = id }, Bound);
        var status = (await _cri.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id }, Bound)).Status;
        Check(status.State == ContainerState.ContainerRunning, $"container {name} does not run: {status.State}, exit code {status.ExitCode} {status.Message}");
        return id;
    }

    /// <summary>Waits for two lines of the client after each other that both end with the text.</summary>
    private static async Task CheckLogAsync(string file, string expected)
    {
        string[] lines = [];
        for (var end = DateTime.UtcNow.AddSeconds(20); DateTime.UtcNow < end; await Task.Delay(200))
        {
            lines = File.Exists(file) ? await File.ReadAllLinesAsync(file) : [];
            if (lines is [.., var before, var last] && before.EndsWith(expected, StringComparison.Ordinal) && last.EndsWith(expected, StringComparison.Ordinal))
            {
                Say($"its log: {last}");
                Say("the client reaches the server on 127.0.0.1, and its output reaches the log that containerd writes");
                return;
            }
        }
        throw new DemoException($"{file} does not repeat \"{expected}\"; its last line: \"{lines.LastOrDefault()}\"");
    }

    private async Task CheckExecAsync(string container)
    {
        var request = new ExecSyncRequest { ContainerId = container, Cmd = { "sh", "-c", "echo to stdout; echo to stderr >&2; exit 7" }, Timeout = 20 };
        var result = await _cri.ExecSyncAsync(request, Bound);
        Check(result.Stdout.ToStringUtf8() == "to stdout\n" && result.Stderr.ToStringUtf8() == "to stderr\n", "the exec's output did not arrive");
        Check(result.ExitCode == 7, $"the exec ended with {result.ExitCode}, not with 7");
        Say("exec: stdout and stderr arrive apart, exit code 7");
    }

    private async Task CheckStatsAsync(string container)
    {
        var stats = (await _cri.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = container }, Bound)).Stats;
        var (memory, cpu) = (stats.Memory?.WorkingSetBytes?.Value ?? 0, stats.Cpu?.UsageCoreNanoSeconds?.Value ?? 0);
        Check(memory > 0 && cpu > 0, $"the server's statistics are empty: {memory} bytes, {cpu} ns");
        Say($"stats: the server uses {memory / 1024} KiB and {cpu / 1_000_000} ms of CPU, read from its cgroup");
    }

    private async Task<int> RemoveAsync(string logs)
    {
        var pods = await PodsAsync();
        foreach (var pod in pods)
        {
            await _cri.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = pod.Id }, Bound);
            await _cri.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = pod.Id }, Bound);
        }
        foreach (var log in Directory.Exists(logs) ? Directory.GetFiles(logs, "*.log") : [])
        {
            File.Delete(log);
        }
        return pods.Count;
    }

    private async Task<IReadOnlyList<PodSandbox>> PodsAsync() =>
        (await _cri.ListPodSandboxAsync(new ListPodSandboxRequest { Filter = new PodSandboxFilter { LabelSelector = { [Label] = "pod" } } }, Bound)).Items;

    private static string Short(string id) => id[..12];

    private static void Say(string text) => Console.WriteLine("   " + text);

    private static void Check(bool condition, string problem) => _ = condition ? true : throw new DemoException(problem);
}
