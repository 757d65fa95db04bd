using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using State = Kuasar.Protocol.Contracts.Control.SandboxRecord.Types.State;

namespace Kuasar.Sandbox.Tests.Sandboxes;

/// <summary>What is written down of a sandbox, and what another life of the sandboxer makes of it.</summary>
public sealed class SandboxRecordTests : IAsyncLifetime
{
    private SandboxBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await SandboxBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private SandboxRecord Record => SandboxRecordFile.Read(_bed.FolderOf("pod"))!;

    private async Task<RemoveResponse> RemoveAsync(string id) => await _bed.Control.RemoveAsync(new RemoveRequest
    {
        Containerd = _bed.Instance, Namespace = SandboxBed.Namespace, Id = id,
    }).ResponseAsync.InTime();

    [Fact]
    public async Task Each_step_is_written_down_before_it_is_taken()
    {
        var states = new List<State>();
        _bed.Sandboxer.OnCreate = _ => Note();
        _bed.Sandboxer.OnStart = (_, _) => Note();
        _bed.Sandboxer.OnStop = (_, _) => Note();
        await _bed.RunAsync();
        states.Add(Record.State);
        await _bed.StopAsync();

        Assert.Equal([State.Created, State.Starting, State.Ready, State.Stopping], states);
        var record = Record;
        Assert.Equal((State.Stopped, 0u, 4711u), (record.State, record.ExitStatus, record.Pid));
        Assert.NotNull(record.ExitedAt);
        Assert.Equal((_bed.ContainerdAddress, SandboxBed.Namespace, "pod"), (record.ContainerdAddress, record.Namespace, record.Id));
        Assert.Equal((_bed.PathOf("bundles/pod"), "/run/netns/cni-1", SandboxBed.Options()), (record.Bundle, record.NetworkNamespace, record.Options));
        Assert.Equal((await _bed.StatusAsync()).CreatedAt, record.CreatedAt);
        Assert.Equal("600", Convert.ToString((int)File.GetUnixFileMode(SandboxRecordFile.PathIn(_bed.FolderOf("pod"))), 8));

        Task Note()
        {
            states.Add(Record.State);
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task What_an_author_declares_is_in_the_record_once_and_bad_paths_are_refused()
    {
        await _bed.RunAsync();
        var spec = _bed.Sandboxer.Last.Spec;
        await Task.WhenAll(Enumerable.Range(0, 20).Select(i => Task.Run(() => spec.RecordMount($"/mount/{i % 10}"), TestContext.Current.CancellationToken))).InTime();
        spec.RecordCgroup("/sys/fs/cgroup/x");
        spec.RecordProcess(Environment.ProcessId);
        spec.RecordProcess(5_000_000);
        Assert.Throws<ArgumentException>(() => spec.RecordMount("relative"));
        Assert.Throws<ArgumentException>(() => spec.RecordCgroup(""));

        var record = Record;
        Assert.Equal(10, record.Mounts.Count);
        Assert.Equal("/sys/fs/cgroup/x", Assert.Single(record.Cgroups));
        Assert.Equal(Environment.ProcessId, Assert.Single(record.Processes).Pid);
        // Its end must not be ours.
        record.Processes.Clear();
        SandboxRecordFile.Write(_bed.FolderOf("pod"), record);
        await _bed.RestartAsync();
        await RemoveAsync("pod");
        Assert.False(Directory.Exists(_bed.FolderOf("pod")));
        Assert.Throws<IOException>(() => RecordAfterwards());

        void RecordAfterwards()
        {
            var folder = new SandboxFolder(_bed.FolderOf("elsewhere"), record.Clone());
            folder.Open();
            folder.ReleaseAsync().Wait();
            folder.Add(r => r.Mounts, "/late");
        }
    }

    [Fact]
    public async Task A_short_path_leads_to_the_folder_and_goes_with_it()
    {
        for (var life = 0; life < 2; life++)
        {
            await _bed.RunAsync();
            var spec = _bed.Sandboxer.Last.Spec;
            var link = spec.GetShortDirectory();
            Assert.Equal(link, spec.GetShortDirectory());
            Assert.Equal(_bed.Paths.Run.Length + 19, link.Length);
            Assert.Equal(spec.WorkDirectory, new FileInfo(link).LinkTarget);
            if (life == 0)
            {
                await _bed.StopAsync();
                await _bed.ShutdownAsync();
            }
            else
            {
                await _bed.RestartAsync();
                await RemoveAsync("pod");
            }
            Assert.Empty(Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(link)!));
        }
    }

    /// <summary>A sandbox that a killed sandboxer leaves: a process, a mount in its folder, a task with a process.</summary>
    private async Task<(HostProcess Sandbox, HostProcess Task)> LeaveAsync(Bed outside, Action<SandboxRecord>? change = null)
    {
        var (process, task) = (outside.Shell("sleep 1000"), outside.Shell("sleep 1000"));
        var folder = _bed.FolderOf("pod");
        Directory.CreateDirectory(Path.Combine(folder, "mnt"));
        Libc.Mount("tmpfs", Path.Combine(folder, "mnt"), "tmpfs", 0, null);
        var record = new SandboxRecord
        {
            ContainerdAddress = _bed.ContainerdAddress, Namespace = SandboxBed.Namespace, Id = "pod", Bundle = _bed.MakeBundle("pod"), State = State.Ready, Pid = 99,
        };
        record.Processes.Add(ProcessIdentity.Of(process.ProcessId)!);
        change?.Invoke(record);
        SandboxRecordFile.Write(folder, record);
        var taskRecord = new TaskRecord
        {
            ContainerdAddress = _bed.ContainerdAddress, Namespace = SandboxBed.Namespace, Id = "c", Bundle = _bed.MakeBundle("c"), Sandbox = "pod",
        };
        taskRecord.Processes.Add(ProcessIdentity.Of(task.ProcessId)!);
        TaskRecordFile.Write(TaskFolder("c"), taskRecord);
        return (process, task);
    }

    private string TaskFolder(string id) => _bed.Paths.TaskFolder(_bed.ContainerdAddress, SandboxBed.Namespace, id);

    private async Task AssertEndedAsync((HostProcess Sandbox, HostProcess Task) left)
    {
        Assert.Equal(137u, (await left.Sandbox.Exited.InTime()).Code);
        Assert.Equal(137u, (await left.Task.Exited.InTime()).Code);
        await Within.Until(() => !Directory.Exists(_bed.FolderOf("pod")) && !Directory.Exists(TaskFolder("c")), "their folders' end");
        Assert.Empty(MountTable.Below(_bed.Paths.Run));
    }

    [Theory]
    [InlineData("delete")]
    [InlineData("shutdown")]
    [InlineData("create")]
    [InlineData("start, bundle gone")]
    [InlineData("start, removed")]
    public async Task What_an_earlier_life_left_is_removed_with_its_tasks(string occasion)
    {
        using var outside = new Bed();
        var left = await LeaveAsync(outside, record => record.Removed = occasion.EndsWith("removed", StringComparison.Ordinal));
        var stranger = new TaskRecord { ContainerdAddress = _bed.ContainerdAddress, Namespace = SandboxBed.Namespace, Id = "d", Bundle = _bed.MakeBundle("d") };
        TaskRecordFile.Write(TaskFolder("d"), stranger);
        switch (occasion)
        {
            case "delete":
                var removed = await RemoveAsync("pod");
                Assert.Equal((99u, 137u), (removed.Pid, removed.ExitStatus));
                break;
            case "shutdown":
                await SandboxBed.Fails(StatusCode.NotFound, () => _bed.StatusAsync());
                await _bed.ShutdownAsync();
                break;
            case "create":
                await _bed.CreateAsync();
                await _bed.ShutdownAsync();
                break;
            default:
                if (occasion.EndsWith("gone", StringComparison.Ordinal))
                {
                    Directory.Delete(_bed.PathOf("bundles/pod"));
                }
                await _bed.RestartAsync();
                break;
        }

        await AssertEndedAsync(left);
        Assert.True(Directory.Exists(TaskFolder("d")));
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async Task At_a_start_those_whose_bundle_is_there_are_left_to_containerd()
    {
        using var outside = new Bed();
        var left = await LeaveAsync(outside);

        await _bed.RestartAsync();
        // The start has gone through all of them when one that it removes is gone.
        Directory.CreateDirectory(_bed.FolderOf("empty"));
        Directory.CreateDirectory(Path.Combine(_bed.FolderOf("full"), "x"));
        SandboxRecordFile.Write(_bed.FolderOf("zzz"), new SandboxRecord { ContainerdAddress = _bed.ContainerdAddress, Namespace = SandboxBed.Namespace, Id = "zzz", Removed = true });
        await _bed.RestartAsync();
        await Within.Until(() => !Directory.Exists(_bed.FolderOf("zzz")));

        await Within.Until(() => !Directory.Exists(_bed.FolderOf("empty")));
        Assert.True(Directory.Exists(_bed.FolderOf("full")));
        Assert.False(left.Sandbox.Exited.IsCompleted);
        Assert.False(left.Task.Exited.IsCompleted);
        await RemoveAsync("pod");
        await AssertEndedAsync(left);
    }

    [Fact]
    public async Task Delete_removes_a_live_sandbox_and_never_another_id()
    {
        await _bed.RunAsync();
        await _bed.RunAsync("pod2");
        await _bed.RunTaskAsync("c");
        var alien = await _bed.RunTaskAsync("d", "pod2");
        var wait = await _bed.BeginWaitAsync();
        // A container's delete, as a restarted containerd has it run, is of the container alone.
        await RemoveAsync("c");
        Assert.Equal("SANDBOX_READY", await _bed.StateAsync());

        var removed = await RemoveAsync("pod");

        Assert.Equal((4711u, 137u), (removed.Pid, removed.ExitStatus));
        await wait.InTime();
        Assert.False(Directory.Exists(_bed.FolderOf("pod")));
        await RemoveAsync("pod");
        Assert.Equal("SANDBOX_READY", await _bed.StateAsync("pod2"));
        Assert.Empty(alien.Signals);
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async Task An_unreadable_record_is_kept_in_quarantine_and_its_sandbox_left_alone()
    {
        using var outside = new Bed();
        var left = await LeaveAsync(outside);
        var path = SandboxRecordFile.PathIn(_bed.FolderOf("pod"));
        var bytes = await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);
        bytes[^1] ^= 1;
        await File.WriteAllBytesAsync(path, bytes, TestContext.Current.CancellationToken);

        Assert.Equal(0u, (await RemoveAsync("pod")).Pid);

        var kept = Assert.Single(Directory.GetFiles(_bed.Paths.Quarantine));
        Assert.EndsWith(".sandbox.pb", kept, StringComparison.Ordinal);
        Assert.Equal(bytes, await File.ReadAllBytesAsync(kept, TestContext.Current.CancellationToken));
        Assert.False(left.Sandbox.Exited.IsCompleted);
        Assert.NotEmpty(MountTable.Below(_bed.FolderOf("pod")));
        foreach (var point in MountTable.Below(_bed.FolderOf("pod")))
        {
            Libc.UnmountAll(point);
        }
    }

    [Fact]
    public async Task A_cgroup_of_the_sandbox_is_emptied_and_removed()
    {
        using var outside = new Bed();
        var folder = LiveCgroup();
        if (folder is null)
        {
            Assert.Skip("no cgroup can be made here");
        }
        Directory.CreateDirectory(Path.Combine(folder, "below"));
        using var process = outside.Shell("sleep 1000");
        await File.WriteAllTextAsync(Path.Combine(folder, "below/cgroup.procs"), $"{process.ProcessId}", TestContext.Current.CancellationToken);
        await _bed.RunAsync();
        _bed.Sandboxer.Last.Spec.RecordCgroup(folder);

        await _bed.ShutdownAsync();

        Assert.Equal(137u, (await process.Exited.InTime()).Code);
        Assert.False(Directory.Exists(folder));
    }

    // The pids controller where there are several hierarchies, else the only one.
    private static string? LiveCgroup()
    {
        foreach (var root in new[] { "/sys/fs/cgroup/pids", "/sys/fs/cgroup" })
        {
            try
            {
                if (File.Exists(Path.Combine(root, "cgroup.procs")))
                {
                    return Directory.CreateDirectory(Path.Combine(root, $"kuasar-test-{Guid.NewGuid():N}")).FullName;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Read-only here.
            }
        }
        return null;
    }
}
