using System.Diagnostics;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace SideBySide;

/// <summary>Pods of one kind, by CRI.</summary>
/// <param name="invoker">containerd.</param>
/// <param name="hostNetwork">No CNI: its plugins take most of the time, and are the same for all. Never with <c>sandboxer = "shim"</c>: containerd 2.1.9 panics.</param>
internal sealed class Pods(CallInvoker invoker, bool hostNetwork)
{
    private const string Label = "kuasar-side-by-side", Image = "localhost/busybox:1";

    private readonly RuntimeService.RuntimeServiceClient _cri = new(invoker);

    private NamespaceOption Namespaces => new() { Network = hostNetwork ? NamespaceMode.Node : NamespaceMode.Pod, Pid = NamespaceMode.Container };

    private static CallOptions Bound => new(deadline: DateTime.UtcNow.AddMinutes(1));

    internal async Task AddAsync(string runtime, int count)
    {
        for (var i = 0; i < count; i++)
        {
            await RunAsync(NewConfig(), runtime);
        }
    }

    internal async Task RemoveAllAsync()
    {
        var filter = new PodSandboxFilter { LabelSelector = { [Label] = "1" } };
        foreach (var pod in (await _cri.ListPodSandboxAsync(new ListPodSandboxRequest { Filter = filter }, Bound)).Items)
        {
            await RemoveAsync(pod.Id);
        }
    }

    internal async Task TimeAsync(string[] runtimes, int count)
    {
        // The first turn warms caches and counts for nothing; who is first changes from turn to turn.
        for (var turn = 0; turn <= count; turn++)
        {
            foreach (var runtime in turn % 2 == 0 ? runtimes : runtimes.Reverse())
            {
                await TimeOneAsync(runtime, turn > 0);
            }
        }
    }

    private async Task TimeOneAsync(string runtime, bool print)
    {
        var config = NewConfig();
        var pod = "";
        await Timed("RunPodSandbox", async () => pod = await RunAsync(config, runtime));
        var container = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = "c" },
            Image = new ImageSpec { Image = Image },
            Command = { "sleep", "600" },
            Linux = new LinuxContainerConfig { SecurityContext = new LinuxContainerSecurityContext { NamespaceOptions = Namespaces } },
        };
        var request = new CreateContainerRequest { PodSandboxId = pod, Config = container, SandboxConfig = config };
        await Timed("CreateContainer+StartContainer", async () =>
        {
            var id = (await _cri.CreateContainerAsync(request, Bound)).ContainerId;
            await _cri.StartContainerAsync(new StartContainerRequest { ContainerId = id }, Bound);
        });
        await Timed("StopPodSandbox+RemovePodSandbox", () => RemoveAsync(pod));

        async Task Timed(string call, Func<Task> run)
        {
            var start = Stopwatch.GetTimestamp();
            await run();
            if (print)
            {
                Console.WriteLine($"{runtime} {call} {Stopwatch.GetElapsedTime(start).TotalMicroseconds:F0}");
            }
        }
    }

    private PodSandboxConfig NewConfig()
    {
        var id = Guid.NewGuid().ToString("N");
        return new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = id, Uid = id, Namespace = "bench" },
            Labels = { [Label] = "1" },
            Linux = new LinuxPodSandboxConfig { SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = Namespaces } },
        };
    }

    private async Task<string> RunAsync(PodSandboxConfig config, string runtime) =>
        (await _cri.RunPodSandboxAsync(new RunPodSandboxRequest { Config = config, RuntimeHandler = runtime }, Bound)).PodSandboxId;

    private async Task RemoveAsync(string pod)
    {
        await _cri.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = pod }, Bound);
        await _cri.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = pod }, Bound);
    }
}
