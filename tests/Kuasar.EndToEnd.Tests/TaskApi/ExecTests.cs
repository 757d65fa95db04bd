using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Runc;

namespace Kuasar.EndToEnd.Tests.TaskApi;

/// <summary>Further processes in a container.</summary>
public class ExecTests(TestRun run, OwnNode? own = null) : NodeTest(run, own)
{
    [Fact]
    public async Task An_exec_gives_its_output_its_errors_and_its_exit_code()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "sh", "-c", "echo out; echo err >&2; exit 42");
        Assert.Equal(42u, (await exec.WaitAsync()).ExitStatus);
        Assert.Equal("out\n", await exec.Output.ToEndAsync());
        Assert.Equal("err\n", await exec.Errors.ToEndAsync());
        var state = await exec.StateAsync();
        Assert.Equal((ProcessStatus.Stopped, 42u, exec.Pid), (state.Status, state.ExitStatus, state.Pid));
        Assert.Equal((exec.Stdin, exec.Stdout, exec.Stderr), (state.Stdin, state.Stdout, state.Stderr));
        Assert.Equal(42u, (await exec.DeleteAsync()).ExitStatus);
        await FailsAsync(StatusCode.NotFound, () => exec.StateAsync());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(127)]
    public async Task An_execs_exit_code_is_told(int code)
    {
        var container = await StartIdleAsync();
        Assert.Equal(((string)"", (uint)code), await container.RunAsync("sh", "-c", $"exit {code}"));
    }

    [Fact]
    public async Task An_exec_that_cannot_start_says_why_and_can_be_deleted()
    {
        var container = await StartIdleAsync();
        var exec = await container.AddExecAsync("e", new ExecPlan(), "/no/such/program");
        var error = await Assert.ThrowsAsync<RpcException>(exec.StartAsync);
        Assert.Contains("/no/such/program", error.Status.Detail, StringComparison.Ordinal);
        // Whatever it says: it must not hang.
        await exec.WaitAsync(TimeSpan.FromSeconds(10)).ContinueWith(wait => Assert.NotEqual(StatusCode.DeadlineExceeded, (wait.Exception?.InnerException as RpcException)?.StatusCode));
        await exec.DeleteAsync();
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
        // Its id is free again.
        var again = await container.ExecAsync("e", "true");
        Assert.Equal(0u, (await again.WaitAsync()).ExitStatus);
    }

    [Fact]
    public async Task An_exec_id_that_is_taken_says_AlreadyExists()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "sleep", "3600");
        await FailsAsync(StatusCode.AlreadyExists, async () => await container.Client.Tasks.ExecAsync(exec.ExecRequest("true"), ContainerdClient.Options));
        Assert.Equal(ProcessStatus.Running, (await exec.StateAsync()).Status);
    }

    [Fact]
    public async Task A_stopped_task_takes_no_exec()
    {
        var container = await StartIdleAsync();
        var added = await container.AddExecAsync("e1", new ExecPlan(), "true");
        await container.Init.KillAsync(9);
        await container.Init.WaitAsync();
        await FailsAsync(StatusCode.FailedPrecondition, added.StartAsync);
        // The stock runtime says the latter without a code.
        await FailsAsync(
            Settings.IsOurs ? StatusCode.FailedPrecondition : StatusCode.Unknown, () => container.AddExecAsync("e2", new ExecPlan(), "true"));
    }

    [Fact]
    public async Task An_exec_that_was_never_started_can_be_deleted_but_not_killed()
    {
        var container = await StartIdleAsync();
        var exec = await container.AddExecAsync("e", new ExecPlan(), "true");
        Assert.Equal(ProcessStatus.Created, (await exec.StateAsync()).Status);
        await FailsAsync(StatusCode.FailedPrecondition, () => exec.KillAsync(9));
        Assert.Equal(0u, (await exec.DeleteAsync()).ExitStatus);
        await FailsAsync(StatusCode.NotFound, exec.StartAsync);
    }

    [Fact]
    public async Task A_running_exec_is_not_deleted()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "sleep", "3600");
        await Assert.ThrowsAsync<RpcException>(exec.DeleteAsync);
        Assert.Equal(ProcessStatus.Running, (await exec.StateAsync()).Status);
    }

    [Fact]
    public async Task A_dead_exec_cannot_be_killed()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "true");
        await exec.WaitAsync();
        await FailsAsync(StatusCode.NotFound, () => exec.KillAsync(9));
    }

    [Fact]
    public async Task An_exec_is_deleted_though_its_own_children_hold_its_output()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "sh", "-c", "sleep 3600 & echo done");
        Assert.Equal(0u, (await exec.WaitAsync()).ExitStatus);
        await exec.Output.UntilAsync("done\n");
        await exec.DeleteAsync();
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
    }

    [Fact]
    public async Task Processes_are_listed_with_the_exec_they_are()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "sleep", "3600");
        var pids = await container.Client.Tasks.ListPidsAsync(new() { ContainerId = container.Id }, ContainerdClient.Options);
        Assert.Equal(new HashSet<uint> { container.Pid, exec.Pid }, pids.Processes.Select(p => p.Pid).ToHashSet());
        Assert.True(TypeUrl.TryUnpack<ProcessDetails>(pids.Processes.Single(p => p.Pid == exec.Pid).Info, out var details));
        Assert.Equal("e", details.ExecId);
    }

    /// <summary>Fewer where processors are emulated.</summary>
    protected virtual int Many => 50;

    [Fact]
    public async Task Many_execs_at_once_each_get_their_own_output_and_code()
    {
        var container = await StartIdleAsync();
        var results = await Task.WhenAll(Enumerable.Range(0, Many).Select(i => container.RunAsync("sh", "-c", $"echo number {i}; exit {i}")));
        Assert.Equal(Enumerable.Range(0, Many).Select(i => ($"number {i}\n", (uint)i)), results);
    }

    [Fact]
    public async Task Execs_of_many_containers_do_not_wait_for_each_other()
    {
        var containers = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => StartIdleAsync()));
        var blocked = await containers[0].ExecAsync("e", "sleep", "3600");
        var outputs = await Task.WhenAll(containers.Select((c, i) => c.RunAsync("echo", $"{i}")));
        Assert.Equal(Enumerable.Range(0, 5).Select(i => ($"{i}\n", 0u)), outputs);
        Assert.Equal(ProcessStatus.Running, (await blocked.StateAsync()).Status);
    }
}
