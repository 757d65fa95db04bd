using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Tasks;

/// <summary>Deletes, plain and forced, repeated and of what was never made.</summary>
public sealed class ContainerTaskDeleteTests : IAsyncLifetime
{
    private readonly TaskBed _bed = new();
    private readonly TestContainer _container = new();

    public ValueTask InitializeAsync() => default;

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private Task<TestExec> ExecAsync(ContainerTask task, string id) => _bed.ExecAsync(_container, task, id);

    [Fact]
    public async Task Delete_of_one_that_never_started_tells_no_exit_and_stays_deleted()
    {
        var task = await _bed.CreateAsync(_container);

        var (_, exit) = await task.DeleteAsync(false).InTime();
        await task.Watched.InTime();

        Assert.Null(exit);
        Assert.Equal("create delete", await _bed.Containerd.NextTopicsAsync(2));
        await _bed.AssertNoMoreEventsAsync();
        Assert.Equal(ProcessState.Deleted, task.Init.State);
        await Within.Fails(SandboxError.NotFound, () => task.DeleteAsync(true));
        Assert.Equal(137u, (await task.Init.Exit.InTime()).Code);
    }

    [Fact]
    public async Task A_delete_that_fails_half_way_can_be_repeated()
    {
        var failures = 1;
        var task = await _bed.ExitAsync(_container, 8);
        _container.OnDelete = () =>
        {
            if (failures-- > 0)
            {
                throw new IOException("the author's error");
            }
        };
        await Assert.ThrowsAsync<IOException>(() => task.DeleteAsync(false).InTime());
        Assert.Equal(ProcessState.Stopped, task.Init.State);
        // The sandbox ends with its last task; its author's error is not the task's.
        _bed.Sandboxer.OnDisposeAsync = () => throw new IOException("the author's other error");

        var (_, exit) = await task.DeleteAsync(false).InTime();

        Assert.Equal(8u, exit!.Value.Code);
        Assert.Equal(1, _container.Deletes);
        Assert.Equal("delete", await _bed.Containerd.NextTopicsAsync(1));
        await _bed.AssertNoMoreEventsAsync();
        Assert.False(Directory.Exists(_bed.FolderOf("one")));
        await Within.Fails(SandboxError.NotFound, () => task.DeleteAsync(false));
    }

    [Fact]
    public async Task An_exec_whose_delete_fails_can_be_deleted_again()
    {
        var task = await _bed.StartAsync(_container);
        var exec = await ExecAsync(task, "e");
        exec.Exit();
        await task.Find("e").Exit.InTime();
        exec.OnDelete = () => throw new IOException("the author's error");
        await Assert.ThrowsAsync<IOException>(() => task.DeleteExecAsync("e").InTime());
        exec.OnDelete = () => { };

        await task.DeleteExecAsync("e").InTime();

        task.AddExec("e", TaskBed.ExecSpec, TaskBed.NoStdio);
    }

    [Fact]
    public async Task Many_deletes_at_once_are_one()
    {
        var task = await _bed.ExitAsync(_container);

        var results = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => Task.Run(async () =>
        {
            try
            {
                await task.DeleteAsync(i % 2 == 0);
                return true;
            }
            catch (SandboxException e) when (e.Error == SandboxError.NotFound)
            {
                return false;
            }
        }))).InTime();

        Assert.Single(results, true);
        Assert.Equal(1, _container.Deletes);
        Assert.Equal("delete", await _bed.Containerd.NextTopicsAsync(1));
        await _bed.AssertNoMoreEventsAsync();
    }

    [Fact]
    public async Task Force_ends_what_runs_and_tells_it()
    {
        var task = await _bed.StartAsync(_container);

        var (_, exit) = await task.DeleteAsync(true).InTime();

        Assert.Equal(137u, exit!.Value.Code);
        Assert.Equal("exit delete", await _bed.Containerd.NextTopicsAsync(2));
        await _bed.AssertNoMoreEventsAsync();
    }

    [Fact]
    public async Task Force_works_on_one_that_ended_while_its_execs_hold_back_its_exit()
    {
        var task = await _bed.StartAsync(_container);
        await ExecAsync(task, "slow");
        _container.Exit(5);
        await Within.Until(() => _bed.Bed.Time.IsArmed(TimeSpan.FromSeconds(10)), "the wait for execs");

        var deleting = task.DeleteAsync(true);
        await Within.Until(() => _bed.Bed.Time.IsArmed(TimeSpan.FromSeconds(2)), "the wait for the end");
        _bed.Bed.Time.Advance(TimeSpan.FromSeconds(2));

        var (_, exit) = await deleting.InTime();
        Assert.Equal(5u, exit!.Value.Code);
        Assert.Equal("slow", (await _bed.NextExitAsync()).Id);
        Assert.Equal("one", (await _bed.NextExitAsync()).Id);
        Assert.Equal("delete", await _bed.Containerd.NextTopicsAsync(1));
        await task.Watched.InTime();
        await _bed.AssertNoMoreEventsAsync();
        Assert.Equal(ProcessState.Deleted, task.Init.State);
    }

    [Fact]
    public async Task Force_deletes_one_that_does_not_die()
    {
        _container.Mortal = false;
        var task = await _bed.StartAsync(_container);
        var deleting = task.DeleteAsync(true);
        await Within.Until(() => _bed.Bed.Time.IsArmed(TimeSpan.FromSeconds(2)), "the wait for the end");
        _bed.Bed.Time.Advance(TimeSpan.FromSeconds(2));

        Assert.Equal(137u, (await deleting.InTime()).Exit!.Value.Code);

        Assert.Equal("exit delete", await _bed.Containerd.NextTopicsAsync(2));
        await task.Watched.InTime();
        await _bed.AssertNoMoreEventsAsync();
    }

    [Fact]
    public async Task A_create_that_fails_leaves_nothing()
    {
        await Within.Fails(SandboxError.InvalidArgument, () => _bed.CreateAsync(_container, config: """{"annotations":{}}"""));
        await Within.Fails(SandboxError.InvalidArgument, () => _bed.CreateAsync(
            _container, config: """{"ociVersion":"1","annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"../x"}}"""));
        _bed.Sandboxer.OnCreate = _ => throw new SandboxException(SandboxError.Unavailable, "not now");
        await Within.Fails(SandboxError.Unavailable, () => _bed.CreateAsync(_container));
        _bed.Sandboxer.OnCreate = _ => Task.CompletedTask;

        Assert.False(Directory.Exists(_bed.FolderOf("one")));
        Assert.Equal(0, _container.Deletes);
        await _bed.AssertNoMoreEventsAsync();
        await _bed.StartAsync(_container);
    }
}
