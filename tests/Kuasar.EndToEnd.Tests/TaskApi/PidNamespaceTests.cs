namespace Kuasar.EndToEnd.Tests.TaskApi;

/// <summary>Containers whose processes the kernel does not end with init, as it does in a pid namespace of one's own.</summary>
public sealed class PidNamespaceTests(TestRun run) : NodeTest(run)
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Processes_of_a_shared_pid_namespace_end_with_init(bool ofHost)
    {
        var container = await StartSharedAsync(ofHost, "sh", "-c", "sleep 3600 & sh -c 'sleep 3600 & sleep 3600' & wait");
        var pids = new List<int>();
        await Within.UntilAsync(async () => (pids = await PidsAsync(container)).Count(pid => Proc.Name(pid) == "sleep") == 3, what: "its processes");
        await container.Init.KillAsync(9);
        Assert.Equal(137u, (await container.Init.WaitAsync()).ExitStatus);
        // In another's namespace its init is who should wait for them: sleep does not.
        await Within.UntilAsync(() => !pids.Exists(pid => ofHost ? Directory.Exists($"/proc/{pid}") : Proc.Runs(pid)), what: "all have ended");
        await container.DeleteTaskAsync();
    }

    [Fact]
    public async Task Orphans_are_waited_for_while_init_runs()
    {
        // The middle one ends, its child then goes to whoever takes orphans.
        var container = await StartSharedAsync(ofHost: true, "sh", "-c", "sh -c 'sh -c \"sleep 0.2; echo orphan \\$\\$\" & exit'; sleep 3600");
        var output = await container.Init.Output.UntilAsync(text => text.EndsWith('\n'), "the orphan's pid");
        var orphan = output.Trim().Split(' ')[1];
        await Within.UntilAsync(() => !Directory.Exists($"/proc/{orphan}"), what: "the orphan was waited for");
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
    }

    [Fact]
    public async Task An_exec_is_told_before_init_that_it_ends_with()
    {
        var container = await StartSharedAsync(ofHost: true, "sleep", "3600");
        var exec = await container.ExecAsync("e", "sleep", "3600");
        await container.Init.KillAsync(9);
        Assert.Equal(137u, (await exec.WaitAsync()).ExitStatus);
        Assert.Equal(137u, (await container.Init.WaitAsync()).ExitStatus);
        await container.DeleteTaskAsync();
        Assert.Equal(["exit(e)", "exit", "delete"], (await EventsToDeleteAsync(container)).Select(e => e.ToString()).TakeLast(3));
    }

    private async Task<TestContainer> StartSharedAsync(bool ofHost, params string[] arguments)
    {
        if (ofHost)
        {
            return await StartAsync(new ContainerPlan { Change = OciSpec.WithHostPids }, arguments);
        }
        var other = await StartIdleAsync();
        return await StartAsync(new ContainerPlan { Change = OciSpec.WithPidsOf(other.Pid) }, arguments);
    }

    private static async Task<List<int>> PidsAsync(TestContainer container) =>
        [.. (await container.Client.Tasks.ListPidsAsync(new() { ContainerId = container.Id }, ContainerdClient.Options)).Processes.Select(p => (int)p.Pid)];
}
