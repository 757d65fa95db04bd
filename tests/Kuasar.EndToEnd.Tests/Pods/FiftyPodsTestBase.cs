using System.Collections.Concurrent;
using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.EndToEnd.Tests.Pods;

/// <summary>What fifty pods cost where a pod is no process: a sandboxer as it is shipped, which serves nobody else.</summary>
public abstract class FiftyPodsTestBase(TestRun run, OwnNode own) : NodeTest(run, own)
{
    private const int Count = 50;

    protected abstract string Handler { get; }

    /// <summary>Of the sandboxer, with all pods.</summary>
    protected abstract double PssLimitMiB { get; }

    protected override string? OursOnly => "the stock runtime serves no sandboxes";

    [Fact]
    public async Task Fifty_pods_are_fifty_container_processes_and_one_small_sandboxer()
    {
        int[] sandboxer = [.. new[] { Node.Sandboxer!.ProcessId, Node.Sandboxer.ServingProcessId }.Distinct()];
        var containerd = Processes().Single(pid => !sandboxer.Contains(pid));
        var empty = sandboxer.Sum(Proc.PssMiB);
        var pods = new ConcurrentBag<Pod>();
        // As the kubelet starts them: several at once, but not all.
        await Parallel.ForEachAsync(Enumerable.Range(0, Count), new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (i, _) =>
        {
            var pod = await Pod.RunAsync(Node, $"fifty-{i}", Handler, config => config.Linux.SecurityContext = new LinuxSandboxSecurityContext
            {
                NamespaceOptions = new NamespaceOption { Pid = NamespaceMode.Container },
            });
            pods.Add(pod);
            await pod.StartContainerAsync(null, "sleep", "3600");
        });

        var containers = await InitsAsync();
        Assert.Equal(Count, containers.Count);
        // runc and the shims of `start` may still be on their way out.
        await Within.UntilAsync(() => Proc.Descendants(sandboxer[0]).SetEquals([.. containers, .. sandboxer[1..]]) && Processes().ToHashSet().SetEquals([.. sandboxer, containerd]),
            what: "nothing but containerd, the sandboxer and the containers");
        Assert.All(containers, pid => Assert.Equal("sleep 3600", Proc.CommandLine(pid)));
        // Wherever a pause process or a pod's init had gone, it would be in a namespace of the pod.
        var ipc = containers.Select(pid => Namespace(pid, "ipc")).ToHashSet();
        var net = containers.Select(pid => Namespace(pid, "net")).ToHashSet();
        Assert.Equal((Count, Count), (ipc.Count, net.Count));
        Assert.Equal(containers, Proc.Pids().Where(pid => ipc.Contains(Namespace(pid, "ipc")) || net.Contains(Namespace(pid, "net"))).ToHashSet());
        // Its garbage of the last seconds is given back when it has been idle for a while.
        var (atOnce, settled) = (sandboxer.Sum(Proc.PssMiB), double.MaxValue);
        try
        {
            await Within.UntilAsync(() => (settled = sandboxer.Sum(Proc.PssMiB)) <= PssLimitMiB, TimeSpan.FromMinutes(1));
        }
        catch (TimeoutException)
        {
            Assert.Fail($"the sandboxer's Pss is {settled:F1} MiB, more than {PssLimitMiB} ({atOnce:F1} at first):\n{await File.ReadAllTextAsync($"/proc/{sandboxer[^1]}/smaps_rollup")}");
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{Handler}: {sandboxer.Length} of the sandboxer and {containers.Count} container processes; " +
            $"Pss of the sandboxer {empty:F1} MiB without pods, {atOnce:F1} MiB when {Count} have just started, then {settled:F1} MiB");

        await Parallel.ForEachAsync(pods, new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (pod, _) =>
        {
            await pod.StopAsync();
            await pod.RemoveAsync();
        });
        await Within.UntilAsync(() => Proc.Descendants(sandboxer[0]).SetEquals(sandboxer[1..]) && Processes().ToHashSet().SetEquals([.. sandboxer, containerd]),
            what: "nothing but containerd and the sandboxer");
        Assert.Empty(Proc.MountsBelow(Node.RunDirectory));
        Assert.Empty(Proc.MountsBelow(Path.Combine(Node.Bed.Run, "state")));
        Assert.Empty(Node.Records());
    }

    // Of this node: others run beside it. Containers' own command lines do not name it.
    private IEnumerable<int> Processes() =>
        from pid in Proc.Pids()
        let line = Proc.CommandLine(pid)
        where line.Contains(Node.Bed.Run + "/", StringComparison.Ordinal) || line.Contains(Node.Bed.Folder + "/", StringComparison.Ordinal)
        select pid;

    private async Task<HashSet<int>> InitsAsync()
    {
        using var client = new ContainerdClient(Node.Bed.Socket, "k8s.io");
        return [.. (await client.Tasks.ListAsync(new(), ContainerdClient.Options)).Tasks.Select(task => (int)task.Pid)];
    }

    private static string? Namespace(int pid, string name)
    {
        try
        {
            return new FileInfo($"/proc/{pid}/ns/{name}").LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // it has just ended, or is not ours to look at
        }
    }
}
