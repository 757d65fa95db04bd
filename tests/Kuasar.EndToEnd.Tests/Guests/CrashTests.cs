using System.Diagnostics;
using System.Globalization;
using Grpc.Core;
using Kuasar.EndToEnd.Tests.Pods;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Guests;

/// <summary>A sandboxer that is killed while a pod is made or unmade: the pod is whole, or a kubelet can remove all of it.</summary>
[Collection(GuestTests.Name)]
public sealed class GuestCrashTests(TestRun run, GuestNode own) : NodeTest(run, own)
{
    /// <summary>At so many moments of each story, evenly spread.</summary>
    private static readonly int s_kills = int.Parse(
        Environment.GetEnvironmentVariable("KUASAR_GUEST_KILLS") is { Length: > 0 } text ? text : "3", CultureInfo.InvariantCulture);

    [Theory]
    [InlineData(GuestNode.ByShim)]
    [InlineData(GuestNode.ByProxy)]
    public async Task A_pod_is_whole_or_goes_when_the_sandboxer_is_killed_meanwhile(string handler)
    {
        await using var bystander = await MakeAsync($"crash-{handler}-bystander");
        var before = Left();
        var clock = Stopwatch.StartNew();
        var pod = await MakeAsync($"crash-{handler}-usual");
        var making = clock.Elapsed;
        clock.Restart();
        await UnmakeAsync(pod);
        var unmaking = clock.Elapsed;

        for (var i = 0; i < s_kills; i++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"crash-{handler}-{i}");
            Pod? made = null;
            var outcome = await KilledAsync(making, i, async () => made = await MakeAsync(name));
            if (made is not null)
            {
                Assert.Equal(("fine\n", 5), await made.ExecAsync("sh", "-c", "echo fine; exit 5"));
                outcome += ", " + await KilledAsync(unmaking, i, () => UnmakeAsync(made));
            }
            await Within.UntilAsync(() => RemovedAsync(name), TimeSpan.FromSeconds(60), $"pod {name} is removed");
            await NothingMoreIsLeftAsync(before, outcome);
            Assert.Equal(("fine\n", 5), await bystander.ExecAsync("sh", "-c", "echo fine; exit 5"));
            TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {outcome}");
        }

        async Task<Pod> MakeAsync(string name)
        {
            var pod = await Pod.RunAsync(Node, name, handler);
            await pod.StartContainerAsync(null, "sleep", "3600");
            return pod;
        }
    }

    /// <summary>A call that was under way may be Unavailable; nothing is done twice, and nobody else is harmed.</summary>
    [Theory]
    [InlineData(GuestNode.ByShim)]
    [InlineData(GuestNode.ByProxy)]
    public async Task Containers_start_or_go_when_the_sandboxer_is_killed_meanwhile(string handler)
    {
        var podName = "crash-tasks-" + handler;
        await using var pod = await Pod.RunAsync(Node, podName, handler);
        var clock = Stopwatch.StartNew();
        await pod.StartContainerAsync("usual", null, "sleep", "3600");
        var starting = clock.Elapsed;
        var (usual, before) = (pod.ContainerId, Left());
        clock.Restart();
        await pod.ExecAsync("true");
        var asking = clock.Elapsed;

        for (var i = 0; i < s_kills; i++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"c{i}");
            var outcome = await KilledAsync(starting, i, () => pod.StartContainerAsync(name, null, "sh", "-c", $"echo {name} >>/dev/shm/started; exec sleep 3600"));
            if (pod.ContainerId != usual)
            {
                await pod.StopContainerAsync(0);
                await pod.RemoveContainerAsync();
            }
            pod.ContainerId = usual;
            outcome += ", " + await KilledAsync(asking, i, () => pod.ExecAsync("sh", "-c", $"echo {name} >>/dev/shm/asked"));
            Assert.Equal(("fine\n", 5), await pod.ExecAsync("sh", "-c", "echo fine; exit 5"));
            await NothingMoreIsLeftAsync(before, outcome);
            TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {outcome}");
        }
        Assert.Equal(("", 0), await pod.ExecAsync("sh", "-c", "sort /dev/shm/started | uniq -d; sort /dev/shm/asked | uniq -d"));
        await Within.UntilAsync(() => RemovedAsync(podName), TimeSpan.FromSeconds(60), "the pod is removed");
    }

    private static async Task UnmakeAsync(Pod pod)
    {
        await pod.StopAsync();
        await pod.RemoveAsync();
    }

    /// <summary>Kills the sandboxer in a part of what takes so long, and says how it ended.</summary>
    private async Task<string> KilledAsync(TimeSpan usual, int part, Func<Task> story)
    {
        var running = story();
        var delay = usual * (part + 0.5) / s_kills;
        await Task.Delay(delay);
        await own.KillSandboxerAsync();
        try
        {
            await running;
            return string.Create(CultureInfo.InvariantCulture, $"done in spite of a kill at {delay.TotalMilliseconds:0} ms");
        }
        catch (RpcException e) when (e.StatusCode is not StatusCode.DeadlineExceeded)
        {
            return string.Create(CultureInfo.InvariantCulture, $"killed at {delay.TotalMilliseconds:0} ms: {e.Status.Detail}");
        }
    }

    /// <summary>As a kubelet does, again and again; true when there is none of this name.</summary>
    private async Task<bool> RemovedAsync(string name)
    {
        var cri = Node.Client.Cri;
        var sandboxes = (await cri.ListPodSandboxAsync(new ListPodSandboxRequest(), Bound)).Items.Where(sandbox => sandbox.Metadata.Name == name).ToList();
        foreach (var sandbox in sandboxes)
        {
            try
            {
                await cri.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandbox.Id }, Bound);
                await cri.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox.Id }, Bound);
            }
            catch (RpcException e) when (e.StatusCode is not StatusCode.DeadlineExceeded)
            {
                // Once more.
            }
        }
        return sandboxes.Count == 0;
    }

    private static CallOptions Bound => ContainerdClient.Bound(TimeSpan.FromSeconds(30));

    private async Task NothingMoreIsLeftAsync(HashSet<string> before, string outcome)
    {
        try
        {
            await Within.UntilAsync(() => Left().SetEquals(before));
        }
        catch (TimeoutException)
        {
            Assert.Fail($"left, {outcome}: {string.Join(' ', Left().Except(before))}; gone: {string.Join(' ', before.Except(Left()))}");
        }
    }

    /// <summary>All that pods leave on the node: records, mounts, machines and their processes.</summary>
    private HashSet<string> Left() =>
    [
        .. Node.Records(),
        .. Proc.MountsBelow(Node.RunDirectory),
        .. own.Links,
        .. Proc.Pids().Select(Proc.CommandLine).Where(line => line.Contains(Node.RunDirectory + "/l/", StringComparison.Ordinal)),
    ];
}
