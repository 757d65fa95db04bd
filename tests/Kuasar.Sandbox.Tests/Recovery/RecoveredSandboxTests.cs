using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Tests.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using State = Kuasar.Protocol.Contracts.Control.SandboxRecord.Types.State;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;

namespace Kuasar.Sandbox.Tests.Recovery;

/// <summary>What the next life of the sandboxer makes of a sandbox, by the state in which the last one left it.</summary>
public sealed class RecoveredSandboxTests : IAsyncLifetime
{
    private RecoveryBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await RecoveryBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private SandboxRecord Record => SandboxRecordFile.Read(_bed.Bed.FolderOf("pod"))!;

    private void Change(Action<SandboxRecord> change)
    {
        var record = Record;
        change(record);
        SandboxRecordFile.Write(_bed.Bed.FolderOf("pod"), record);
    }

    [Fact]
    public async Task One_that_is_ready_goes_on_with_its_tasks()
    {
        await _bed.RunPodAsync();
        var before = await _bed.Bed.StatusAsync();
        var pid = await _bed.RunAsync(pod: "pod");
        await _bed.RestartAsync();

        var after = await _bed.Bed.StatusAsync();
        Assert.Equal(("SANDBOX_READY", before.Pid, before.CreatedAt), (after.State, after.Pid, after.CreatedAt));
        Assert.Equal((Status.Running, (uint)pid), ((await _bed.StateAsync()).Status, (await _bed.StateAsync()).Pid));
        await _bed.RunAsync("two", "pod");
        var wait = await _bed.Bed.BeginWaitAsync();
        await _bed.Bed.StopAsync();
        Assert.Equal(137u, (await wait).ExitStatus);
        Assert.Equal(["one 137", "two 137"], (await _bed.ExitsAsync()).Order());
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task One_that_is_only_created_can_be_started()
    {
        await _bed.CreatePodAsync();
        await _bed.RestartAsync();

        Assert.Equal("SANDBOX_NOTREADY", await _bed.Bed.StateAsync());
        await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreatePodAsync());
        await _bed.Bed.StartAsync("pod");
        await _bed.RunAsync(pod: "pod");
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task One_that_was_being_started_is_undone()
    {
        await _bed.RunPodAsync();
        await _bed.RestartAsync(() => Change(record => record.State = State.Starting));

        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.Bed.StatusAsync());
        await _bed.AssertNothingLeftButAsync();
        await _bed.RunPodAsync();
    }

    [Fact]
    public async Task One_that_was_being_stopped_is_stopped_with_its_tasks()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        await _bed.RestartAsync(() => Change(record => record.State = State.Stopping));

        await _bed.Bed.WaitAsync();
        Assert.Equal(137u, (await _bed.WaitAsync()).ExitStatus);
        Assert.Equal("SANDBOX_NOTREADY", await _bed.Bed.StateAsync());
        Assert.Empty(_bed.Processes());
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task One_whose_process_has_died_meanwhile_has_ended_with_the_true_code_and_its_tasks_with_it()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        var init = (int)(await _bed.Bed.StatusAsync()).Pid;
        await _bed.RestartAsync(() => RecoveryBed.Kill(init, 15));

        Assert.Equal(143u, (await _bed.Bed.WaitAsync()).ExitStatus);
        Assert.Equal(137u, (await _bed.WaitAsync()).ExitStatus);
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task One_that_has_stopped_answers_as_before()
    {
        await _bed.RunPodAsync();
        var pid = (await _bed.Bed.StatusAsync()).Pid;
        await _bed.Bed.StopAsync();
        var exit = await _bed.Bed.WaitAsync();
        await _bed.RestartAsync();

        var status = await _bed.Bed.StatusAsync();
        Assert.Equal(("SANDBOX_NOTREADY", pid, exit.ExitedAt), (status.State, status.Pid, status.ExitedAt));
        Assert.Equal(exit, await _bed.Bed.WaitAsync());
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.CreateAsync(pod: "pod"));
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task One_of_another_boot_has_ended()
    {
        await _bed.RunPodAsync();
        await _bed.RestartAsync(() => Change(record => record.BootId = "another"));

        Assert.Equal(255u, (await _bed.Bed.WaitAsync()).ExitStatus);
        Assert.Equal(State.Stopped, Record.State);
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task One_that_its_author_does_not_take_over_is_left_with_its_tasks_until_somebody_asks_for_its_removal()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        await _bed.RunAsync("alone");
        _bed.Prepare = author => author.OnRecover = spec => spec.Id == "pod" ? throw new IOException("the author's error") : Task.CompletedTask;
        await _bed.RestartAsync();

        await _bed.FailsAsync(StatusCode.NotFound);
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.Bed.StatusAsync());
        Assert.Equal(Status.Running, await _bed.StatusAsync("alone"));
        Assert.Equal(3, _bed.Processes().Length);
        // A later life may do better.
        _bed.Prepare = _ => { };
        await _bed.RestartAsync();
        Assert.Equal(("SANDBOX_READY", Status.Running), (await _bed.Bed.StateAsync(), await _bed.StatusAsync()));
        _bed.Prepare = author => author.OnRecover = _ => throw new IOException("the author's error");
        await _bed.RestartAsync();
        await _bed.RemoveAsync("alone");
        await _bed.RemoveAsync("pod");
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task A_container_that_its_author_does_not_take_over_is_left_and_the_others_of_its_pod_go_on()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        await _bed.RunAsync("two", "pod");
        await _bed.RunAsync("alone");
        _bed.Prepare = author => author.OnRecoverContainer = spec => spec.Id == "two" ? Task.CompletedTask : throw new IOException("the author's error");
        await _bed.RestartAsync();

        await _bed.FailsAsync(StatusCode.NotFound);
        await _bed.FailsAsync(StatusCode.NotFound, "alone");
        Assert.Equal((Status.Running, "SANDBOX_READY"), (await _bed.StatusAsync("two"), await _bed.Bed.StateAsync()));
        Assert.Equal(4, _bed.Processes().Length);
        Assert.True(_bed.Files("one").Exists && _bed.Files("alone").Exists);
        await _bed.RemoveAsync("one");
        await _bed.RemoveAsync("alone");
        Assert.Equal(2, _bed.Processes().Length);
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task While_an_author_is_slow_with_one_the_others_are_served()
    {
        await _bed.RunAsync();
        await _bed.RunAsync("two");
        var go = new TaskCompletionSource();
        _bed.Prepare = author => author.OnRecoverContainer = spec => spec.Id == "one" ? go.Task : Task.CompletedTask;
        await _bed.RestartAsync();
        var state = _bed.StateAsync();
        var wait = _bed.WaitAsync();
        var twice = SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreateAsync());

        Assert.Equal(Status.Running, await _bed.StatusAsync("two"));
        await _bed.RunAsync("three");
        Assert.False(state.IsCompleted || wait.IsCompleted || twice.IsCompleted);
        go.SetResult();

        Assert.Equal(Status.Running, (await state).Status);
        await twice;
        await _bed.KillAsync();
        Assert.Equal(137u, (await wait).ExitStatus);
    }

    [Fact]
    public async Task One_that_tasks_implied_goes_when_its_last_task_went_with_the_sandboxer()
    {
        await _bed.RunAsync();
        var folder = _bed.Bed.FolderOf("one");
        await _bed.RestartAsync(() =>
        {
            // Its author has recorded something of it, and its task is gone.
            SandboxRecordFile.Write(folder, new SandboxRecord
            {
                ContainerdAddress = _bed.Bed.ContainerdAddress, Namespace = SandboxBed.Namespace, Id = "one", Implied = true, Schema = 1,
                CreatedAt = new(), Mounts = { Path.Combine(folder, "mnt") },
            });
            Directory.CreateDirectory(Path.Combine(folder, "mnt"));
            Libc.Mount("tmpfs", Path.Combine(folder, "mnt"), "tmpfs", 0, null);
            Array.ForEach(_bed.Processes(), RecoveryBed.KillUnseen);
            Directory.Delete(_bed.Files("one").Path, recursive: true);
        });

        await _bed.AssertNothingLeftButAsync();
    }
}
