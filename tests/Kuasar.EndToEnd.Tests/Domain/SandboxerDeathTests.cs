namespace Kuasar.EndToEnd.Tests.Domain;

public sealed class DeathNode(TestRun run) : OwnNode(run, "death")
{
    internal override string? Missing => OursOnly;

    protected override SandboxerPlan Plan => new() { HasKeeper = false };
}

/// <summary>The sandboxer is killed, and there is no keeper. containerd takes its tasks for dead, so they have to be.</summary>
public sealed class SandboxerDeathTests(TestRun run, DeathNode own) : NodeTest(run, own), IClassFixture<DeathNode>
{
    protected override string OursOnly => "it is about its sandboxer";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        // Another test may have failed half-way.
        if (!Proc.Runs(Node.Sandboxer!.ProcessId))
        {
            await Node.StartSandboxerAsync();
        }
    }

    [Fact]
    public async Task Its_tasks_end_are_told_and_can_be_made_again_by_the_next_one()
    {
        var containers = new[]
        {
            await StartAsync("sh", "-c", "sleep 3600 & sleep 3600"),
            // The kernel does not end these with their init.
            await StartAsync(new ContainerPlan { Change = OciSpec.WithHostPids }, "sh", "-c", "sleep 3600 & sleep 3600 & sleep 3600"),
        };
        var execs = await Task.WhenAll(containers.Select(c => c.ExecAsync("e", "sleep", "3600")));
        var pids = new List<int>();
        foreach (var container in containers)
        {
            await Within.UntilAsync(async () => (await PidsAsync(container)).Count(pid => Proc.Name(pid) == "sleep") >= 3, what: "its processes");
            pids.AddRange(await PidsAsync(container));
        }
        Assert.All(execs, exec => Assert.Contains((int)exec.Pid, pids));
        var waits = containers.Select(c => c.Init.WaitAsync()).ToList();

        await Node.Sandboxer!.KillAsync();
        foreach (var container in containers)
        {
            await Events.UntilAsync(container.Id, "exit");
            await Events.UntilAsync(container.Id, "delete");
        }
        await Within.UntilAsync(() => !pids.Exists(Proc.Runs), what: "the tasks' processes have ended");
        await Task.WhenAll(waits.Select(w => w.ContinueWith(t => t.Exception, TaskScheduler.Default))).BoundAsync();
        Assert.All(containers, c => Assert.Empty(Proc.MountsBelow(c.Bundle)));
        Assert.All(containers, c => Assert.False(Directory.Exists(c.Bundle)));

        await Node.StartSandboxerAsync();
        foreach (var container in containers)
        {
            await container.CreateAsync();
            await container.Init.StartAsync();
            Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
            await container.EndAsync();
        }
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(Node.RunDirectory, "tasks"), "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_second_one_on_the_same_folder_refuses_to_start()
    {
        var container = await StartIdleAsync();
        var (code, output) = await Commands.TryAsync(
            Path.Combine(Node.Bed.Folder, "bin/kuasar-runc-sandboxer"), ["--run-dir", Node.RunDirectory], null, TimeSpan.FromSeconds(20));
        Assert.NotEqual(0, code);
        Assert.Contains(Node.RunDirectory, output, StringComparison.Ordinal);
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
    }

    private static async Task<List<int>> PidsAsync(TestContainer container) =>
        [.. (await container.Client.Tasks.ListPidsAsync(new() { ContainerId = container.Id }, ContainerdClient.Options)).Processes.Select(p => (int)p.Pid)];
}
