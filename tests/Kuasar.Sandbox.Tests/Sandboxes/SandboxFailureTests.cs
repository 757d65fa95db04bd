using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Sandboxes;

/// <summary>An author's calls that fail or hang at each step: the right answer, and nothing left.</summary>
public sealed class SandboxFailureTests : IAsyncLifetime
{
    private readonly ManualTime _time = new();
    private SandboxBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await SandboxBed.StartAsync(_time);

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private static Task Throw() => throw new SandboxException(SandboxError.Unavailable, "the author's error");

    private static Task Hang() => new TaskCompletionSource().Task;

    /// <summary>Everything that an author may have written down and made by then.</summary>
    private async Task<HostProcess> MakeAsync(SandboxSpec spec)
    {
        var folder = Path.Combine(spec.WorkDirectory, "a b");
        Directory.CreateDirectory(folder);
        spec.RecordMount(folder);
        Libc.Mount("tmpfs", folder, "tmpfs", 0, null);
        // And one that nobody has written down.
        Directory.CreateDirectory(Path.Combine(folder, "below"));
        Libc.Mount("tmpfs", Path.Combine(folder, "below"), "tmpfs", 0, null);
        var process = _bed.Sandboxer.Services.Processes.Start("/bin/sleep", ["1000"]);
        spec.RecordProcess(process.ProcessId);
        await Task.Yield();
        return process;
    }

    private static async Task AssertUndoneAsync(HostProcess? process, SandboxSpec? spec)
    {
        if (process is not null)
        {
            Assert.Equal(137u, (await process.Exited.InTime()).Code);
        }
        if (spec is not null)
        {
            Assert.Empty(MountTable.Below(spec.WorkDirectory));
        }
    }

    private void Clear()
    {
        _bed.Sandboxer.OnCreate = _ => Task.CompletedTask;
        _bed.Sandboxer.OnStart = (_, _) => Task.CompletedTask;
        _bed.Sandboxer.OnDisposeAsync = () => Task.CompletedTask;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Create_that_fails_leaves_nothing(bool early)
    {
        HostProcess? process = null;
        SandboxSpec? made = null;
        _bed.Sandboxer.OnCreate = async spec =>
        {
            if (!early)
            {
                process = await MakeAsync(made = spec);
            }
            await Throw();
        };

        var error = await SandboxBed.Fails(StatusCode.Unavailable, () => _bed.CreateAsync());

        Assert.Equal("the author's error", error.Status.Detail);
        await AssertUndoneAsync(process, made);
        Assert.Equal(["create pod"], _bed.Sandboxer.Log);
        await _bed.ShutdownAsync();
        await _bed.AssertGoneAsync();
    }

    [Theory]
    [InlineData("start")]
    [InlineData("start and dispose")]
    public async Task Start_that_fails_leaves_nothing(string step)
    {
        HostProcess? process = null;
        _bed.Sandboxer.OnCreate = async spec => process = await MakeAsync(spec);
        _bed.Sandboxer.OnStart = (_, _) => Throw();
        _bed.Sandboxer.OnDisposeAsync = () => step == "start" ? Task.CompletedTask : Throw();
        await _bed.CreateAsync();
        var wait = await _bed.BeginWaitAsync();

        var error = await SandboxBed.Fails(StatusCode.Unavailable, () => _bed.StartAsync("pod"));

        Assert.Equal("the author's error", error.Status.Detail);
        Assert.Equal(255u, (await wait.InTime()).ExitStatus);
        await AssertUndoneAsync(process, _bed.Sandboxer.Last.Spec);
        // As the shim controller does after an error.
        await _bed.ShutdownAsync();
        Clear();
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async Task Dispose_that_fails_does_not_keep_a_sandbox()
    {
        HostProcess? process = null;
        _bed.Sandboxer.OnCreate = async spec => process = await MakeAsync(spec);
        await _bed.RunAsync();
        _bed.Sandboxer.OnDisposeAsync = Throw;

        await _bed.ShutdownAsync();

        await AssertUndoneAsync(process, _bed.Sandboxer.Last.Spec);
        Clear();
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async Task Stop_that_fails_does_not_keep_Shutdown_from_removing()
    {
        await _bed.RunAsync();
        var wait = await _bed.BeginWaitAsync();
        _bed.Sandboxer.OnStop = (_, _) => Throw();

        await _bed.ShutdownAsync();

        Assert.Equal(255u, (await wait.InTime()).ExitStatus);
        Assert.Equal("dispose pod", _bed.Sandboxer.Log[^1]);
        await _bed.AssertGoneAsync();
    }

    [Theory]
    [InlineData("create")]
    [InlineData("start")]
    [InlineData("stop")]
    [InlineData("dispose")]
    public async Task What_hangs_does_not_keep_Shutdown_from_removing(string step)
    {
        var late = new TaskCompletionSource();
        HostProcess? process = null;
        _bed.Sandboxer.OnCreate = async spec =>
        {
            process = await MakeAsync(spec);
            await (step == "create" ? late.Task : Task.CompletedTask);
        };
        _bed.Sandboxer.OnStart = (_, _) => step == "start" ? late.Task : Task.CompletedTask;
        _bed.Sandboxer.OnStop = (_, _) => step == "stop" ? late.Task : Task.CompletedTask;
        _bed.Sandboxer.OnDisposeAsync = () => step == "dispose" ? late.Task : Task.CompletedTask;
        var up = _bed.RunAsync();
        await (step is "create" or "start" ? Within.Until(() => _bed.Sandboxer.Log.Contains(step + " pod") && process is not null) : up);

        var shutdown = _bed.ShutdownAsync();
        await Within.Until(() => _time.IsArmed(ManagedSandbox.Grace), "the limit");
        Assert.False(shutdown.IsCompleted);
        // Nobody else is held up, and it can still be looked at.
        await _bed.StatusAsync();
        _time.Advance(ManagedSandbox.Grace);

        await shutdown.InTime();
        if (step is "create" or "start")
        {
            await SandboxBed.Fails(StatusCode.DeadlineExceeded, () => up);
        }
        await AssertUndoneAsync(process, null);
        Assert.False(Directory.Exists(_bed.FolderOf("pod")));
        Clear();
        await _bed.AssertGoneAsync();
        // What comes too late is freed.
        var before = _bed.Sandboxer.Log.Count(line => line == "dispose pod");
        late.SetResult();
        if (step is "create" or "dispose")
        {
            await Within.Until(() => _bed.Sandboxer.Log.Count(line => line == "dispose pod") == before + 1, "its disposal");
        }
    }

    [Fact]
    public async Task A_stop_that_takes_longer_than_it_may_is_answered_and_goes_on()
    {
        await _bed.RunAsync();
        var stopping = new TaskCompletionSource();
        _bed.Sandboxer.OnStop = (_, _) => stopping.Task;
        var stop = _bed.StopAsync(timeout: 3);
        var limit = TimeSpan.FromSeconds(3) + ManagedSandbox.Grace;
        await Within.Until(() => _time.IsArmed(limit), "the limit");
        _time.Advance(limit);

        await SandboxBed.Fails(StatusCode.DeadlineExceeded, () => stop);

        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
        var second = _bed.StopAsync();
        var wait = await _bed.BeginWaitAsync();
        stopping.SetResult();
        await second.InTime();
        await wait.InTime();
        Assert.Equal(["create pod", "start pod", "stop pod 3"], _bed.Sandboxer.Log);
    }

    [Fact]
    public async Task A_container_whose_creation_hangs_does_not_keep_its_sandbox_from_stopping()
    {
        await _bed.RunAsync();
        var creating = new TaskCompletionSource();
        var begun = new TaskCompletionSource();
        _bed.Sandboxer.OnCreatingContainer = _ =>
        {
            begun.SetResult();
            return creating.Task;
        };
        var create = _bed.CreateTaskAsync("c");
        await begun.Task.InTime();
        var stop = _bed.StopAsync();
        await Within.Until(() => _time.IsArmed(TimeSpan.FromSeconds(10)), "the limit");
        Assert.DoesNotContain("stop pod 0", _bed.Sandboxer.Log);
        _time.Advance(TimeSpan.FromSeconds(10));

        await stop.InTime();

        creating.SetResult();
        // Too late: it is undone.
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => create);
        await Within.Until(() => !Directory.Exists(_bed.Paths.TaskFolder(_bed.ContainerdAddress, SandboxBed.Namespace, "c")));
    }

    [Theory]
    [InlineData("create")]
    [InlineData("start")]
    [InlineData("author")]
    public async Task A_record_that_cannot_be_written_is_an_error_that_leaves_nothing(string step)
    {
        // A folder in its place: the rename fails.
        void Spoil() => Directory.CreateDirectory(Path.Combine(SandboxRecordFile.PathIn(_bed.FolderOf("pod")), "x"));
        if (step == "create")
        {
            Spoil();
        }
        _bed.Sandboxer.OnCreate = spec =>
        {
            if (step == "author")
            {
                File.Delete(SandboxRecordFile.PathIn(spec.WorkDirectory));
                Spoil();
                spec.RecordMount("/somewhere");
            }
            return Task.CompletedTask;
        };

        if (step == "start")
        {
            await _bed.CreateAsync();
            File.Delete(SandboxRecordFile.PathIn(_bed.FolderOf("pod")));
            Spoil();
            await SandboxBed.Fails(StatusCode.Unknown, () => _bed.StartAsync("pod"));
        }
        else
        {
            await SandboxBed.Fails(StatusCode.Unknown, () => _bed.CreateAsync());
        }

        Assert.DoesNotContain("start pod", _bed.Sandboxer.Log);
        if (step == "create")
        {
            // It was not ours; a person has to look.
            Directory.Delete(_bed.FolderOf("pod"), recursive: true);
        }
        Clear();
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async Task A_mount_that_cannot_be_undone_is_told_and_tried_again()
    {
        // Not a mount point, and nothing that umount takes: an error other than "not mounted".
        await _bed.RunAsync();
        var spec = _bed.Sandboxer.Last.Spec;
        spec.RecordMount("/" + new string('x', 300));

        await SandboxBed.Fails(StatusCode.Unknown, () => _bed.ShutdownAsync());

        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
        Assert.NotNull(SandboxRecordFile.Read(spec.WorkDirectory));
        await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreateAsync());
        await SandboxBed.Fails(StatusCode.Unknown, () => _bed.ShutdownAsync());
        Assert.Equal(1, _bed.Sandboxer.Log.Count(line => line == "dispose pod"));
    }
}
