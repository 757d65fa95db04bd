using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Tasks;

/// <summary>Ends, in the orders in which they may come, and what containerd is told of them.</summary>
public sealed class ContainerTaskEndTests : IAsyncLifetime
{
    private readonly TaskBed _bed = new();
    private readonly TestContainer _container = new();

    public ValueTask InitializeAsync() => default;

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private Task<TestExec> ExecAsync(ContainerTask task, string id) => _bed.ExecAsync(_container, task, id);

    [Fact]
    public async Task A_whole_life_is_told_in_order()
    {
        var task = await _bed.StartAsync(_container);
        var exec = await ExecAsync(task, "e");
        exec.Exit(3);
        var exit = await _bed.NextExitAsync();
        Assert.Equal(("one", "e", 3u, (uint)exec.ProcessId), (exit.ContainerId, exit.Id, exit.ExitStatus, exit.Pid));
        await task.PauseAsync().InTime();
        await task.ResumeAsync().InTime();
        Assert.Equal("paused resumed", await _bed.Containerd.NextTopicsAsync(2));
        _container.Exit(4);
        exit = await _bed.NextExitAsync();
        Assert.Equal(("one", "one", 4u), (exit.ContainerId, exit.Id, exit.ExitStatus));

        var (pid, status) = await task.DeleteAsync(false).InTime();

        Assert.Equal((_container.ProcessId, 4u), (pid, status!.Value.Code));
        Assert.Equal("delete", await _bed.Containerd.NextTopicsAsync(1));
        await _bed.AssertNoMoreEventsAsync();
        Assert.Equal((1, 1), (_container.Deletes, exec.Deletes));
        Assert.False(Directory.Exists(_bed.FolderOf("one")));
        Assert.Equal(["create one", "start one", "stop one 0", "dispose one"], _bed.Sandboxer.Log);
        await Within.Fails(SandboxError.NotFound, () => task.DeleteAsync(false));
    }

    [Fact]
    public async Task An_end_during_Start_is_told_after_it()
    {
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _container.OnStart = () => go.Task;
        var task = await _bed.CreateAsync(_container);
        var start = task.StartAsync("");
        _container.Exit(1);
        Assert.False(task.Init.Exit.IsCompleted);

        go.SetResult();

        await start.InTime();
        Assert.Equal(1u, (await task.Init.Exit.InTime()).Code);
        Assert.Equal("create start exit", await _bed.Containerd.NextTopicsAsync(3));
    }

    [Fact]
    public async Task An_end_during_the_start_of_an_exec_is_told_after_it()
    {
        var task = await _bed.StartAsync(_container);
        _container.OnExec = _ =>
        {
            var exec = new TestExec();
            exec.Exit(6);
            _container.Exit(7);
            return exec;
        };
        task.AddExec("e", TaskBed.ExecSpec, TaskBed.NoStdio);
        await task.StartAsync("e").InTime();

        await task.Watched.InTime();

        Assert.Equal("exec-added exec-started", await _bed.Containerd.NextTopicsAsync(2));
        Assert.Equal("e", (await _bed.NextExitAsync()).Id);
        Assert.Equal("one", (await _bed.NextExitAsync()).Id);
    }

    [Fact]
    public async Task The_end_of_init_waits_for_execs_but_only_so_long()
    {
        var task = await _bed.StartAsync(_container);
        await ExecAsync(task, "quick");
        var slow = await ExecAsync(task, "slow");
        _container.Exit(5);
        await Within.Until(() => _bed.Bed.Time.IsArmed(TimeSpan.FromSeconds(10)), "the wait for execs");
        _container.Execs[0].Exit(1);
        Assert.Equal("quick", (await _bed.NextExitAsync()).Id);
        Assert.False(task.Init.Exit.IsCompleted);
        await Within.Fails(SandboxError.FailedPrecondition, () => task.PauseAsync());
        await Within.Fails(SandboxError.FailedPrecondition, () => task.DeleteAsync(false));
        Assert.Throws<SandboxException>(() => task.AddExec("late", TaskBed.ExecSpec, TaskBed.NoStdio));

        _bed.Bed.Time.Advance(TimeSpan.FromSeconds(10));

        Assert.Equal(5u, (await task.Init.Exit.InTime()).Code);
        Assert.Equal("one", (await _bed.NextExitAsync()).Id);
        slow.Exit(2);
        Assert.Equal("slow", (await _bed.NextExitAsync()).Id);
    }

    [Fact]
    public async Task Fifty_execs_at_once_end_each_once_and_before_init()
    {
        var task = await _bed.StartAsync(_container);
        var ids = Enumerable.Range(0, 50).Select(i => $"e{i}").ToArray();
        await Task.WhenAll(ids.Select(id => Task.Run(async () =>
        {
            task.AddExec(id, TaskBed.ExecSpec, TaskBed.NoStdio);
            await task.StartAsync(id);
        }))).InTime();
        Assert.Equal(51, task.GetProcesses().Count() + 50);

        Parallel.ForEach(_container.Execs, exec => exec.Exit(1));
        _container.Exit(2);
        await task.Watched.InTime();

        List<string> exits = [];
        Dictionary<string, string> last = [];
        for (var i = 0; i < 151; i++)
        {
            var envelope = await _bed.Containerd.NextAsync();
            var id = envelope.Topic switch
            {
                "/tasks/exec-added" => TaskExecAdded.Parser.ParseFrom(envelope.Event.Value).ExecId,
                "/tasks/exec-started" => TaskExecStarted.Parser.ParseFrom(envelope.Event.Value).ExecId,
                _ => TaskExit.Parser.ParseFrom(envelope.Event.Value).Id,
            };
            Assert.Equal(envelope.Topic switch { "/tasks/exec-added" => null, "/tasks/exec-started" => "/tasks/exec-added", _ => id == "one" ? null : "/tasks/exec-started" }, last.GetValueOrDefault(id));
            last[id] = envelope.Topic;
            if (envelope.Topic == "/tasks/exit")
            {
                exits.Add(id);
            }
        }
        Assert.Equal("one", exits[^1]);
        Assert.Equal(51, exits.Distinct().Count());
        await task.DeleteAsync(false).InTime();
        Assert.All(_container.Execs, exec => Assert.Equal(1, exec.Deletes));
    }

    [Fact]
    public async Task Of_a_container_that_outlives_init_but_cannot_signal_all_the_exit_is_told()
    {
        // No cgroup: SignalAllAsync throws, and before there is a task.
        _container.Outlives = true;
        await _bed.ExitAsync(_container, 2);
    }

    [Fact]
    public async Task An_author_who_cannot_tell_the_end_ends_it_unknown()
    {
        var task = await _bed.StartAsync(_container);

        _container.FailToKnow();

        Assert.Equal(ExitStatus.UnknownCode, (await task.Init.Exit.InTime()).Code);
        Assert.Equal(ExitStatus.UnknownCode, (await _bed.NextExitAsync()).ExitStatus);
    }

    [Fact]
    public async Task An_exec_that_cannot_be_started_frees_its_streams_and_can_be_deleted()
    {
        var task = await _bed.StartAsync(_container);
        var stdout = _bed.Bed.Fifo("out");
        _container.OnExec = _ => throw new SandboxException(SandboxError.NotFound, "no such program");
        task.AddExec("e", TaskBed.ExecSpec, new("", stdout, "", false));

        await Within.Fails(SandboxError.NotFound, () => task.StartAsync("e"));

        Assert.Equal(0, _bed.Bed.Handles.Count);
        Assert.Equal(ProcessState.Stopped, task.Find("e").State);
        await task.DeleteExecAsync("e").InTime();
        Assert.Equal("exec-added", await _bed.Containerd.NextTopicsAsync(1));
        await _bed.AssertNoMoreEventsAsync();
    }

    [Fact]
    public async Task A_wait_for_an_exec_that_never_ran_ends_with_its_delete()
    {
        var task = await _bed.StartAsync(_container);
        task.AddExec("e", TaskBed.ExecSpec, TaskBed.NoStdio);
        var wait = task.Find("e").Exit;
        Assert.False(wait.IsCompleted);

        var (_, exit) = await task.DeleteExecAsync("e").InTime();

        Assert.Null(exit);
        Assert.Equal(ExitStatus.UnknownCode, (await wait.InTime()).Code);
    }

    [Fact]
    public async Task An_exec_that_runs_but_sends_no_terminal_is_killed_and_freed()
    {
        var task = await _bed.StartAsync(_container);
        task.AddExec("e", TaskBed.ExecSpec, new("", "", "", true));
        var starting = task.StartAsync("e");
        await Within.Until(() => _bed.Bed.Time.IsArmed(TimeSpan.FromSeconds(30)), "the limit");
        _bed.Bed.Time.Advance(TimeSpan.FromSeconds(30));

        await Within.Fails(SandboxError.DeadlineExceeded, () => starting);

        Assert.Equal([9], _container.Execs[0].Signals);
        await task.DeleteExecAsync("e").InTime();
        Assert.Equal(1, _container.Execs[0].Deletes);
        Assert.Empty(Directory.GetFiles(_bed.Bed.Stdio.ConsoleDirectory));
    }
}
