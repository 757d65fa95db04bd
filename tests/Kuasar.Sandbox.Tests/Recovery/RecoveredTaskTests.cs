using Grpc.Core;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using ProcessRecord = Kuasar.Protocol.Contracts.Control.ProcessRecord;
using State = Kuasar.Protocol.Contracts.Control.TaskRecord.Types.State;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;
using SystemTask = System.Threading.Tasks.Task;

namespace Kuasar.Sandbox.Tests.Recovery;

/// <summary>What the next life of the sandboxer makes of a task, by the state in which the last one left it.</summary>
public sealed class RecoveredTaskTests : IAsyncLifetime
{
    private RecoveryBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await RecoveryBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async SystemTask One_that_runs_goes_on_and_its_end_is_told_once()
    {
        var pid = await _bed.RunAsync();
        await _bed.RestartAsync();

        var state = await _bed.StateAsync();
        Assert.Equal((Status.Running, (uint)pid, _bed.Bed.PathOf("bundles/one")), (state.Status, state.Pid, state.Bundle));
        var wait = _bed.WaitAsync();
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.DeleteAsync());
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.StartAsync());
        await _bed.KillAsync();

        Assert.Equal(137u, (await wait).ExitStatus);
        Assert.Equal(["one 137"], await _bed.ExitsAsync());
        await _bed.RestartAsync();
        Assert.Equal((Status.Stopped, 137u), ((await _bed.StateAsync()).Status, (await _bed.WaitAsync()).ExitStatus));
        Assert.Equal(137u, (await _bed.DeleteAsync()).ExitStatus);
        Assert.Empty(await _bed.ExitsAsync());
        await _bed.AssertNothingLeftButAsync();
    }

    [Theory]
    [InlineData(true, 143u)]
    [InlineData(false, 255u)]
    public async SystemTask One_that_has_died_meanwhile_has_its_true_code_or_that_of_an_unknown_end(bool seen, uint code)
    {
        var pid = await _bed.RunAsync();
        await _bed.RestartAsync(() =>
        {
            if (seen)
            {
                RecoveryBed.Kill(pid, 15);
            }
            else
            {
                RecoveryBed.KillUnseen(pid);
            }
        });

        Assert.Equal(code, (await _bed.WaitAsync()).ExitStatus);
        Assert.Equal([$"one {code}"], await _bed.ExitsAsync());
        await _bed.RestartAsync();
        Assert.Equal(code, (await _bed.DeleteAsync()).ExitStatus);
        Assert.Empty(await _bed.ExitsAsync());
    }

    [Fact]
    public async SystemTask An_end_that_containerd_was_away_for_is_told_when_it_is_back_and_once()
    {
        await _bed.RunAsync();
        Assert.Empty(await _bed.ExitsAsync());
        await _bed.Bed.Containerd.StopAsync();
        await _bed.KillAsync(signal: 15);
        var exit = await _bed.WaitAsync();
        await _bed.RestartAsync();
        _bed.Bed.Containerd.Start();

        Assert.Equal(["one 143"], await _bed.ExitsAsync());
        // When it was first seen, not when it was told.
        Assert.Equal(exit.ExitedAt, (await _bed.WaitAsync()).ExitedAt);
        await Within.Until(() => _bed.Files("one").Record.Exit.Told, "the end of the telling");
        await _bed.RestartAsync();
        Assert.Empty(await _bed.ExitsAsync());
    }

    [Fact]
    public async SystemTask One_that_is_created_can_be_started_and_one_that_was_being_created_is_undone()
    {
        var pid = await _bed.CreateAsync();
        await _bed.CreateAsync("two");
        await _bed.RestartAsync(() => _bed.Files("two").Change(record => (record.State, record.Pod) = (State.Creating, record.Pod)));

        Assert.Equal(Status.Created, await _bed.StatusAsync());
        await _bed.FailsAsync(StatusCode.NotFound, "two");
        await Within.Until(() => !_bed.Files("two").Exists, "the end of the half-made one");
        Assert.Equal([pid], _bed.Processes());
        Assert.Equal(pid, await _bed.StartAsync());
        await _bed.CreateAsync("two");
        Assert.Equal(Status.Created, await _bed.StatusAsync("two"));
    }

    [Theory]
    [InlineData("created", Status.Created)]
    [InlineData("running", Status.Running)]
    public async SystemTask One_that_was_being_started_is_as_far_as_its_runtime_came(string known, Status expected)
    {
        await _bed.CreateAsync();
        await _bed.RestartAsync(() =>
        {
            _bed.Files("one").Change(record => record.State = State.Starting);
            File.WriteAllText(Path.Combine(_bed.Files("one").Record.RuntimeRoot, "one/status"), known);
        });

        Assert.Equal(expected, await _bed.StatusAsync());
        if (expected == Status.Created)
        {
            await _bed.StartAsync();
        }
        await _bed.KillAsync();
        Assert.Equal(137u, (await _bed.WaitAsync()).ExitStatus);
    }

    [Fact]
    public async SystemTask One_that_is_paused_stays_so_and_can_be_resumed()
    {
        await _bed.RunAsync();
        await _bed.Bed.Tasks.PauseAsync(new PauseRequest { Id = "one" }).ResponseAsync.InTime();
        await _bed.RestartAsync();

        Assert.Equal(Status.Paused, await _bed.StatusAsync());
        await _bed.Bed.Tasks.ResumeAsync(new ResumeRequest { Id = "one" }).ResponseAsync.InTime();
        await _bed.RestartAsync();
        Assert.Equal(Status.Running, await _bed.StatusAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async SystemTask One_that_was_being_deleted_can_be_deleted_again(bool hadRun)
    {
        await _bed.CreateAsync();
        if (hadRun)
        {
            await _bed.StartAsync();
            await _bed.KillAsync();
            await _bed.WaitAsync();
            Assert.Equal(["one 137"], await _bed.ExitsAsync());
        }
        await _bed.RestartAsync(() =>
        {
            // As far as a deletion comes: the runtime has been told, the record has not gone.
            _bed.Files("one").Change(record => record.State = State.Deleting);
            Directory.Delete(Path.Combine(_bed.Files("one").Record.RuntimeRoot, "one"), recursive: true);
            Array.ForEach(_bed.Processes(), RecoveryBed.KillUnseen);
        });

        await _bed.DeleteAsync();
        await _bed.FailsAsync(StatusCode.NotFound);
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async SystemTask Execs_are_each_as_they_were()
    {
        await _bed.RunAsync();
        await _bed.ExecAsync("created", start: false);
        var running = await _bed.ExecAsync("running");
        await _bed.ExecAsync("stopped");
        await _bed.KillAsync(exec: "stopped");
        await _bed.WaitAsync(exec: "stopped");
        var died = await _bed.ExecAsync("died");
        await _bed.ExecAsync("starting", start: false);
        Assert.Equal(["stopped 137"], await _bed.ExitsAsync());
        await _bed.RestartAsync(() =>
        {
            _bed.Files("one").Change(record => record.Execs.First(exec => exec.Id == "starting").State = State.Starting);
            File.WriteAllText(Path.Combine(_bed.Files("one").Path, "exec.starting.pid"), "");
            File.WriteAllText(Path.Combine(_bed.Files("one").Path, "log-1"), "of a call that was cut short");
            RecoveryBed.Kill(died, 15);
        });

        Assert.Equal(Status.Created, await _bed.StatusAsync(exec: "created"));
        Assert.Equal((Status.Running, (uint)running), ((await _bed.StateAsync(exec: "running")).Status, (await _bed.StateAsync(exec: "running")).Pid));
        Assert.Equal((Status.Stopped, 137u), ((await _bed.StateAsync(exec: "stopped")).Status, (await _bed.WaitAsync(exec: "stopped")).ExitStatus));
        Assert.Equal(143u, (await _bed.WaitAsync(exec: "died")).ExitStatus);
        Assert.Equal((Status.Stopped, 255u), ((await _bed.StateAsync(exec: "starting")).Status, (await _bed.WaitAsync(exec: "starting")).ExitStatus));
        // Nobody was told that it ran.
        Assert.Equal(["died 143"], await _bed.ExitsAsync());
        await _bed.StartAsync(exec: "created");
        await _bed.KillAsync(exec: "running");
        Assert.Equal(137u, (await _bed.WaitAsync(exec: "running")).ExitStatus);
        // The record may just be being written.
        await Within.Until(
            () => Directory.GetFiles(_bed.Files("one").Path).Select(Path.GetFileName).Order().SequenceEqual(["exec.created.pid", "init.pid", "task.pb"]), "its files: no more");
        foreach (var exec in new[] { "running", "stopped", "died", "starting" })
        {
            await _bed.DeleteAsync(exec: exec);
        }
        Assert.Equal(["created"], _bed.Files("one").Record.Execs.Select(exec => exec.Id));
    }

    [Fact]
    public async SystemTask A_process_that_has_its_pid_now_is_a_stranger()
    {
        var pid = await _bed.RunAsync();
        await _bed.RunAsync("two");
        await _bed.RestartAsync(() =>
        {
            _bed.Files("one").Change(record => record.Processes[0].StartTime++);
            _bed.Files("two").Change(record => record.Processes[0].BootId = "another");
        });

        Assert.Equal(255u, (await _bed.WaitAsync()).ExitStatus);
        Assert.Equal(255u, (await _bed.WaitAsync("two")).ExitStatus);
        Assert.Equal(2, _bed.Processes().Length);
        Assert.NotNull(ProcessIdentity.Of(pid));
    }

    [Fact]
    public async SystemTask A_call_of_the_runtime_that_is_under_way_is_waited_for()
    {
        await _bed.CreateAsync();
        using var outside = new Bed();
        HostProcess call = null!;
        await _bed.RestartAsync(() =>
        {
            var files = _bed.Files("one");
            // A `start` that was begun before the sandboxer was killed, and that takes its time.
            var runtime = outside.Script("runtime", $"while [ ! -e {outside.PathOf("go")} ]; do sleep 0.01; done; echo running >{files.Record.RuntimeRoot}/one/status");
            files.Change(record => (record.State, record.Runtime) = (State.Starting, runtime));
            call = outside.Processes.Start(runtime, ["start", "one"], workingDirectory: files.Path);
        });
        var state = _bed.StatusAsync();
        Assert.Equal("SANDBOX_READY", await RunPodAsync());
        Assert.False(state.IsCompleted);
        await File.WriteAllTextAsync(outside.PathOf("go"), "", TestContext.Current.CancellationToken);

        Assert.Equal(Status.Running, await state);
        await call.Exited.InTime();
        call.Dispose();

        async Task<string> RunPodAsync()
        {
            await _bed.RunPodAsync();
            return await _bed.Bed.StateAsync();
        }
    }

    [Fact]
    public async SystemTask Its_execs_are_ended_with_one_that_was_removed_while_the_sandboxer_was_down()
    {
        await _bed.RunAsync();
        using var outside = new Bed();
        using var exec = outside.Shell("sleep 1000");
        await _bed.ExecAsync("running");
        await _bed.RestartAsync(() => _bed.Files("one").Change(record =>
        {
            record.Removed = true;
            record.Execs[0].Started = ProcessIdentity.Of(exec.ProcessId) ?? new ProcessRecord();
        }));

        Assert.Equal(137u, (await exec.Exited.InTime()).Code);
        await Within.Until(() => !_bed.Files("one").Exists, "its end");
        await _bed.FailsAsync(StatusCode.NotFound);
    }
}
