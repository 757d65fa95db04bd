using Grpc.Core;

namespace Kuasar.EndToEnd.Tests.TaskApi;

/// <summary>How processes end, and how that is told.</summary>
public class ExitTests(TestRun run, OwnNode? own = null) : NodeTest(run, own)
{
    [Theory]
    [InlineData("true", 0)]
    [InlineData("false", 1)]
    [InlineData("exit 42", 42)]
    [InlineData("exit 127", 127)]
    [InlineData("kill -9 $$; sleep 10", 137, true)]
    [InlineData("kill -15 $$; sleep 10", 143, true)]
    public async Task An_exit_code_is_the_same_in_Wait_State_Delete_and_event(string script, uint code, bool asChild = false)
    {
        // Init of a pid namespace is immune to signals from inside; a shell reports its child's end as containerd reports a process's.
        var container = await StartAsync("sh", "-c", asChild ? $"sh -c '{script}'; exit $?" : script);
        var exit = await container.Init.WaitAsync();
        var state = await container.Init.StateAsync();
        var deleted = await container.DeleteTaskAsync();

        Assert.Equal(code, exit.ExitStatus);
        Assert.Equal((ProcessStatus.Stopped, code), (state.Status, state.ExitStatus));
        Assert.Equal(code, deleted.ExitStatus);
        Assert.Equal(exit.ExitedAt, deleted.ExitedAt);
        Assert.Equal(container.Pid, deleted.Pid);
        var told = (Kuasar.Protocol.Contracts.Events.TaskExit)(await Events.UntilAsync(container.Id, "exit")).Message;
        Assert.Equal((code, container.Pid), (told.ExitStatus, told.Pid));
    }

    [Theory]
    [InlineData(9, 137)]
    [InlineData(15, 143)]
    public async Task Init_killed_by_a_signal_reports_128_and_the_signal(uint signal, uint code)
    {
        var container = await StartAsync("sh", "-c", "trap 'trap - TERM; exit 143' TERM; echo ready; while :; do sleep 0.1; done");
        await container.Init.Output.UntilAsync("ready");
        await container.Init.KillAsync(signal);
        Assert.Equal(code, (await container.Init.WaitAsync()).ExitStatus);
    }

    [Theory]
    [InlineData(9, 137)]
    [InlineData(15, 143)]
    public async Task An_exec_killed_by_a_signal_reports_128_and_the_signal(uint signal, uint code)
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "sleep", "3600");
        await exec.KillAsync(signal);
        Assert.Equal(code, (await exec.WaitAsync()).ExitStatus);
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
    }

    [Fact]
    public async Task A_stopped_task_keeps_its_status_until_it_is_deleted()
    {
        var container = await StartAsync("sh", "-c", "exit 3");
        await container.Init.WaitAsync();
        for (var i = 0; i < 3; i++)
        {
            var state = await container.Init.StateAsync();
            Assert.Equal((ProcessStatus.Stopped, 3u, container.Pid), (state.Status, state.ExitStatus, state.Pid));
            Assert.Equal(3u, (await container.Init.WaitAsync()).ExitStatus);
        }
        await container.DeleteTaskAsync();
        await FailsAsync(StatusCode.NotFound, () => container.Init.StateAsync());
    }

    [Fact]
    public async Task Deleting_a_task_twice_says_NotFound_the_second_time()
    {
        var container = await StartAsync("true");
        await container.Init.WaitAsync();
        await container.DeleteTaskAsync();
        await FailsAsync(StatusCode.NotFound, container.DeleteTaskAsync);
    }

    [Fact]
    public async Task Killing_a_dead_process_says_NotFound()
    {
        var container = await StartAsync("true");
        await container.Init.WaitAsync();
        await FailsAsync(StatusCode.NotFound, () => container.Init.KillAsync(9));
        await FailsAsync(StatusCode.NotFound, () => container.Init.KillAsync(15));
        await container.DeleteTaskAsync();
        await FailsAsync(StatusCode.NotFound, () => container.Init.KillAsync(9));
    }

    [Fact]
    public async Task Deleting_a_running_task_fails_and_harms_nothing()
    {
        var container = await StartIdleAsync();
        await Assert.ThrowsAsync<RpcException>(container.DeleteTaskAsync);
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
        Assert.Equal(("still here\n", 0u), await container.RunAsync("echo", "still here"));
        await container.EndAsync();
    }

    [Fact]
    public async Task A_created_task_that_never_started_can_be_killed_and_deleted()
    {
        var container = await CreateAsync(new ContainerPlan(), "true");
        Assert.Equal(ProcessStatus.Created, (await container.Init.StateAsync()).Status);
        await container.Init.KillAsync(9);
        Assert.Equal(137u, (await container.Init.WaitAsync()).ExitStatus);
        await container.DeleteTaskAsync();
        Assert.False(Directory.Exists(container.Bundle));
    }

    [Fact]
    public async Task A_created_task_that_never_started_can_be_deleted()
    {
        var container = await CreateAsync(new ContainerPlan(), "true");
        await container.DeleteTaskAsync();
        await FailsAsync(StatusCode.NotFound, () => container.Init.StateAsync());
        Assert.False(Directory.Exists(container.Bundle));
        Assert.Empty(Proc.MountsBelow(container.Bundle));
    }

    [Fact]
    public async Task Everyone_who_waits_is_told()
    {
        var container = await StartIdleAsync();
        var waits = Enumerable.Range(0, 20).Select(_ => container.Init.WaitAsync()).ToList();
        await container.Init.KillAsync(9);
        Assert.All(await Task.WhenAll(waits), exit => Assert.Equal(137u, exit.ExitStatus));
    }

    [Fact]
    public async Task A_wait_that_is_given_up_disturbs_nobody()
    {
        var container = await StartIdleAsync();
        using (var given = new CancellationTokenSource())
        {
            var wait = container.Client.Tasks.WaitAsync(new() { ContainerId = container.Id }, ContainerdClient.Options.WithCancellationToken(given.Token));
            await container.Init.StateAsync();
            await given.CancelAsync();
            await Assert.ThrowsAsync<RpcException>(async () => await wait);
        }
        await container.Init.KillAsync(9);
        Assert.Equal(137u, (await container.Init.WaitAsync()).ExitStatus);
    }
}
