using Grpc.Core;
using Kuasar.Testing.Containerd.Tasks;

namespace Kuasar.EndToEnd.Tests.TaskApi;

/// <summary>Calls that have no subject of their own.</summary>
public sealed class CallTests(TestRun run) : NodeTest(run)
{
    [Fact]
    public async Task State_tells_what_the_task_was_made_of()
    {
        var container = await CreateAsync(new ContainerPlan { Stdin = true }, "cat");
        var created = await container.Init.StateAsync();
        await container.Init.StartAsync();
        var running = await container.Init.StateAsync();

        Assert.Equal(ProcessStatus.Created, created.Status);
        Assert.Equal(ProcessStatus.Running, running.Status);
        Assert.All([created, running], state =>
        {
            Assert.Equal(container.Pid, state.Pid);
            Assert.Equal((container.Init.Stdin, container.Init.Stdout, container.Init.Stderr), (state.Stdin, state.Stdout, state.Stderr));
            Assert.False(state.Terminal);
        });
        Assert.True(Proc.Runs((int)container.Pid));
    }

    [Fact]
    public async Task The_task_is_listed()
    {
        var container = await StartIdleAsync();
        var tasks = await container.Client.Tasks.ListAsync(new ListTasksRequest(), ContainerdClient.Options);
        Assert.Equal(ProcessStatus.Running, tasks.Tasks.Single(t => t.Id == container.Id).Status);
    }

    [Fact]
    public async Task A_task_starts_once()
    {
        var container = await StartIdleAsync();
        await Assert.ThrowsAsync<RpcException>(container.Init.StartAsync);
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
    }

    [Fact]
    public async Task A_task_is_created_once()
    {
        var container = await StartIdleAsync();
        await FailsAsync(StatusCode.AlreadyExists, async () =>
            await container.Client.Tasks.CreateAsync(new CreateTaskRequest { ContainerId = container.Id }, ContainerdClient.Options));
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
    }

    [Fact]
    public async Task An_id_can_be_used_again_and_again()
    {
        var container = await NewAsync(new ContainerPlan(), "sh", "-c", "echo hello");
        for (var i = 0; i < 5; i++)
        {
            await container.CreateAsync();
            await container.Init.StartAsync();
            Assert.Equal(0u, (await container.Init.WaitAsync()).ExitStatus);
            Assert.Equal("hello\n", await container.Init.Output.ToEndAsync());
            await container.DeleteTaskAsync();
        }
    }

    [Fact]
    public async Task What_the_container_writes_to_its_root_file_system_is_in_its_snapshot_only()
    {
        var one = await StartIdleAsync();
        var other = await StartIdleAsync();
        await one.RunAsync("sh", "-c", "echo mine >/file");
        Assert.Equal(("mine\n", 0u), await one.RunAsync("cat", "/file"));
        Assert.Equal(1u, (await other.RunAsync("cat", "/file")).ExitCode);
        Assert.Equal(("1\n", 0u), await one.RunAsync("sh", "-c", "cat /proc/1/comm | grep -c sleep"));
    }

    [Fact]
    public async Task A_signal_for_all_reaches_every_process()
    {
        Assert.SkipUnless(Settings.IsOurs, "since 1.2 runc signals init alone, whatever it is asked");
        var container = await StartAsync("sh", "-c",
            "trap : TERM; sleep 3600 & a=$!; sleep 3600 & b=$!; while kill -0 $a || kill -0 $b; do wait $a; wait $b; done 2>/dev/null; echo woken; sleep 3600");
        await Within.UntilAsync(async () => (await PidsAsync(container)).Count(pid => Proc.Name(pid) == "sleep") == 2, what: "the children");
        await container.Init.KillAsync(15, all: true);
        await container.Init.Output.UntilAsync("woken");
    }

    [Fact]
    public async Task Signals_of_unknown_number_are_refused()
    {
        var container = await StartIdleAsync();
        await Assert.ThrowsAsync<RpcException>(() => container.Init.KillAsync(4711));
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
    }

    [Fact]
    public async Task Unknown_execs_say_NotFound()
    {
        var container = await StartIdleAsync();
        var nobody = new TestProcess(container, "nobody", terminal: false, hasStdin: false);
        await FailsAsync(StatusCode.NotFound, nobody.StartAsync);
        await FailsAsync(StatusCode.NotFound, () => nobody.StateAsync());
        await FailsAsync(StatusCode.NotFound, () => nobody.WaitAsync());
        await FailsAsync(StatusCode.NotFound, () => nobody.KillAsync(9));
        await FailsAsync(StatusCode.NotFound, () => nobody.DeleteAsync());
    }

    [Fact]
    public async Task Checkpoints_are_refused_as_unimplemented()
    {
        Assert.SkipUnless(Settings.IsOurs, "the stock runtime has them");
        var container = await StartIdleAsync();
        await FailsAsync(StatusCode.Unimplemented, async () =>
            await container.Client.Tasks.CheckpointAsync(new CheckpointTaskRequest { ContainerId = container.Id }, ContainerdClient.Options));
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
    }

    private static async Task<List<int>> PidsAsync(TestContainer container) =>
        [.. (await container.Client.Tasks.ListPidsAsync(new() { ContainerId = container.Id }, ContainerdClient.Options)).Processes.Select(p => (int)p.Pid)];
}
