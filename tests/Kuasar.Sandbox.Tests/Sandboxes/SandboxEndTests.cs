using Grpc.Core;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Support;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;
using SystemTask = System.Threading.Tasks.Task;

namespace Kuasar.Sandbox.Tests.Sandboxes;

/// <summary>How a sandbox and its tasks end.</summary>
public sealed class SandboxEndTests : IAsyncLifetime
{
    private SandboxBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await SandboxBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async SystemTask Stop_ends_all_tasks_before_the_sandbox_and_tells_it()
    {
        await _bed.RunAsync();
        await _bed.RunAsync("other");
        TestContainer running = await _bed.RunTaskAsync("running"), created = await _bed.CreateTaskAsync("created"), alien = await _bed.RunTaskAsync("alien", "other");
        Assert.Equal("create start create create start", await _bed.Containerd.NextTopicsAsync(5));
        var waits = SystemTask.WhenAll(_bed.WaitTaskAsync("running"), _bed.WaitTaskAsync("created"));
        var ended = false;
        _bed.Sandboxer.OnStop = (_, _) =>
        {
            ended = running.Exited.IsCompleted && created.Exited.IsCompleted;
            return SystemTask.CompletedTask;
        };

        await _bed.StopAsync();

        Assert.True(ended);
        Assert.All(await waits.InTime(), wait => Assert.Equal(137u, wait.ExitStatus));
        Assert.Equal("exit exit", await _bed.Containerd.NextTopicsAsync(2));
        Assert.Equal([9], running.Signals);
        Assert.Empty(alien.Signals);
        Assert.Equal(Status.Stopped, await _bed.TaskStateAsync("running"));
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.CreateTaskAsync("late"));
        // They are containerd's to delete, as any.
        Assert.Equal(137u, (await _bed.Tasks.DeleteAsync(new DeleteRequest { Id = "running" }).ResponseAsync.InTime()).ExitStatus);
        Assert.Equal(1, running.Deletes);
    }

    [Fact]
    public async SystemTask Shutdown_stops_first_and_takes_what_tasks_are_left()
    {
        await _bed.RunAsync();
        var container = await _bed.RunTaskAsync("c");
        var wait = await _bed.BeginWaitAsync();
        _bed.Sandboxer.OnDisposeAsync = () => container.Deletes == 1 ? SystemTask.CompletedTask : throw new InvalidOperationException("a container is left");

        await _bed.ShutdownAsync();

        await wait.InTime();
        Assert.Equal("dispose pod", _bed.Sandboxer.Log[^1]);
        Assert.Equal("create start exit delete", await _bed.Containerd.NextTopicsAsync(4));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.TaskStateAsync("c"));
        Assert.False(Directory.Exists(_bed.Paths.TaskFolder(_bed.ContainerdAddress, SandboxBed.Namespace, "c")));
        await _bed.AssertGoneAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async SystemTask Its_own_end_ends_its_tasks_and_is_told_as_it_was(bool known)
    {
        await _bed.RunAsync();
        var container = await _bed.RunTaskAsync("c");
        var wait = WaitBothAsync();

        if (known)
        {
            _bed.Sandboxer.Last.End.SetResult(new ExitStatus(7, DateTimeOffset.UnixEpoch));
        }
        else
        {
            _bed.Sandboxer.Last.End.SetException(new IOException("the author's error"));
        }

        var (sandbox, task) = await wait.InTime();
        Assert.Equal((known ? 7u : 255u, 137u), (sandbox, task));
        Assert.Equal([9], container.Signals);
        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.CreateTaskAsync("late"));
        await _bed.StopAsync();
        // Nobody stops what has ended.
        Assert.DoesNotContain("stop pod 0", _bed.Sandboxer.Log);
        await _bed.ShutdownAsync();
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async SystemTask A_task_that_its_sandbox_takes_along_unseen_is_told_to_have_ended()
    {
        await _bed.RunAsync();
        var container = await _bed.RunTaskAsync("c");
        container.Mortal = false;
        await _bed.Tasks.ExecAsync(new ExecProcessRequest { Id = "c", ExecId = "e", Spec = Tasks.TaskBed.ExecSpec }).ResponseAsync.InTime();
        await _bed.Tasks.StartAsync(new StartRequest { Id = "c", ExecId = "e" }).ResponseAsync.InTime();
        var waits = SystemTask.WhenAll(_bed.WaitTaskAsync("c"), _bed.Tasks.WaitAsync(new WaitRequest { Id = "c", ExecId = "e" }).ResponseAsync.InTime());
        Assert.Equal("create start exec-added exec-started", await _bed.Containerd.NextTopicsAsync(4));

        _bed.Sandboxer.Last.End.SetResult(new ExitStatus(1, DateTimeOffset.UnixEpoch));

        Assert.All(await waits.InTime(), wait => Assert.Equal(137u, wait.ExitStatus));
        Assert.Equal("exit exit", await _bed.Containerd.NextTopicsAsync(2));
        // Seen after all: told once.
        container.Exit(3);
        await _bed.StopAsync();
        Assert.Equal(137u, (await _bed.Tasks.DeleteAsync(new DeleteRequest { Id = "c" }).ResponseAsync.InTime()).ExitStatus);
        Assert.Equal("delete", await _bed.Containerd.NextTopicsAsync(1));
    }

    [Fact]
    public async SystemTask An_end_during_Stop_is_the_stops_and_its_status_is_told()
    {
        await _bed.RunAsync();
        _bed.Sandboxer.OnStop = (sandbox, _) =>
        {
            sandbox.End.SetResult(new ExitStatus(143, DateTimeOffset.UnixEpoch));
            return SystemTask.CompletedTask;
        };
        var wait = await _bed.BeginWaitAsync();

        await _bed.StopAsync();

        Assert.Equal(143u, (await wait.InTime()).ExitStatus);
        Assert.Equal(["create pod", "start pod", "stop pod 0"], _bed.Sandboxer.Log);
    }

    [Fact]
    public async SystemTask A_stop_that_fails_is_told_and_can_be_tried_again()
    {
        await _bed.RunAsync();
        await _bed.RunTaskAsync("c");
        var wait = await _bed.BeginWaitAsync();
        _bed.Sandboxer.OnStop = (_, _) => throw new SandboxException(SandboxError.Unavailable, "not now");

        await SandboxBed.Fails(StatusCode.Unavailable, () => _bed.StopAsync());

        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
        Assert.Equal(Status.Stopped, await _bed.TaskStateAsync("c"));
        Assert.False(wait.IsCompleted);
        _bed.Sandboxer.OnStop = (_, _) => SystemTask.CompletedTask;
        await _bed.StopAsync();
        await wait.InTime();
    }

    [Fact]
    public async SystemTask After_a_stop_that_failed_its_own_end_is_told()
    {
        await _bed.RunAsync();
        _bed.Sandboxer.OnStop = (_, _) => throw new SandboxException(SandboxError.Unavailable, "not now");
        await SandboxBed.Fails(StatusCode.Unavailable, () => _bed.StopAsync());
        var wait = await _bed.BeginWaitAsync();

        _bed.Sandboxer.Last.End.SetResult(new ExitStatus(9, DateTimeOffset.UnixEpoch));

        Assert.Equal(9u, (await wait.InTime()).ExitStatus);
    }

    private async Task<WaitTuple> WaitBothAsync()
    {
        var (sandbox, task) = (_bed.WaitAsync(), _bed.WaitTaskAsync("c"));
        return new((await sandbox).ExitStatus, (await task).ExitStatus);
    }

    private sealed record WaitTuple(uint Sandbox, uint Task);
}
