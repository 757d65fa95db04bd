using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Sandbox.Tests.Control;

public sealed class LeftoversTests : IDisposable
{
    private const string Containerd = "/run/containerd.sock";

    private readonly Bed _bed = new();
    private readonly TaskRegistry _registry = new();
    private readonly DomainPaths _paths;
    private readonly Leftovers _leftovers;

    public LeftoversTests()
    {
        _paths = new DomainPaths(_bed.PathOf("run"));
        _leftovers = new Leftovers(_paths, _bed.Processes, _registry, _bed.Time, NullLogger.Instance);
    }

    public void Dispose() => _bed.Dispose();

    private string FolderOf(string id) => _paths.TaskFolder(Containerd, "ns", id);

    private TaskRecord Write(string id, HostProcess? process = null, Action<TaskRecord>? change = null)
    {
        var record = new TaskRecord { ContainerdAddress = Containerd, Namespace = "ns", Id = id, Bundle = _bed.Folder };
        if (process is not null)
        {
            record.Processes.Add(ProcessIdentity.Of(process.ProcessId)!);
        }
        change?.Invoke(record);
        TaskRecordFile.Write(FolderOf(id), record);
        return record;
    }

    [Fact]
    public async Task At_the_start_the_removed_and_those_without_a_bundle_are_finished_and_no_others()
    {
        using HostProcess removed = _bed.Shell("sleep 1000"), orphan = _bed.Shell("sleep 1000"), kept = _bed.Shell("sleep 1000");
        Write("removed", removed, record => record.Removed = true);
        Write("orphan", orphan, record => record.Bundle = _bed.PathOf("gone"));
        Write("kept", kept);

        await _leftovers.FinishAbandonedAsync().InTime();

        Assert.Equal(137u, (await removed.Exited.InTime()).Code);
        Assert.Equal(137u, (await orphan.Exited.InTime()).Code);
        Assert.False(kept.Exited.IsCompleted);
        Assert.Equal([FolderOf("kept")], Directory.GetDirectories(Path.GetDirectoryName(FolderOf("kept"))!));
        Assert.Equal(0, _registry.Count);
        Assert.Equal(kept.ProcessId, await _leftovers.RemoveAsync(FolderOf("kept")).InTime());
        Assert.Equal(137u, (await kept.Exited.InTime()).Code);
        Assert.Equal(0, await _leftovers.RemoveAsync(FolderOf("kept")).InTime());
    }

    [Fact]
    public async Task An_unreadable_record_is_kept_in_quarantine_and_stops_nobody()
    {
        using var process = _bed.Shell("sleep 1000");
        Write("aaa", process, record => record.Removed = true);
        var path = TaskRecordFile.PathIn(FolderOf("aaa"));
        var bytes = await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);
        bytes[^1] ^= 1;
        await File.WriteAllBytesAsync(path, bytes, TestContext.Current.CancellationToken);
        // One that cannot even be read as a file, and one whose folder has no record.
        Directory.CreateDirectory(TaskRecordFile.PathIn(FolderOf("bbb")));
        Directory.CreateDirectory(FolderOf("ccc"));
        Write("ddd", null, record => record.Removed = true);

        await _leftovers.FinishAbandonedAsync().InTime();

        var kept = Assert.Single(Directory.GetFiles(_paths.Quarantine));
        Assert.Equal(bytes, await File.ReadAllBytesAsync(kept, TestContext.Current.CancellationToken));
        Assert.False(process.Exited.IsCompleted);
        Assert.False(Directory.Exists(FolderOf("ddd")));
        Assert.Equal(0, await _leftovers.RemoveAsync(FolderOf("aaa")).InTime());
        process.Signal(Libc.SIGKILL);
        await process.Exited.InTime();
    }

    [Fact]
    public async Task A_process_of_another_start_or_boot_is_left_alone()
    {
        using HostProcess late = _bed.Shell("sleep 1000"), other = _bed.Shell("sleep 1000");
        Write("late", late, record => record.Processes[0].StartTime++);
        Write("other", other, record => record.Processes[0].BootId = "another");

        await _leftovers.RemoveAsync(FolderOf("late")).InTime();
        await _leftovers.RemoveAsync(FolderOf("other")).InTime();

        foreach (var process in new[] { late, other })
        {
            // The first signal that it gets is ours.
            process.Signal(Libc.SIGTERM);
            Assert.Equal(128u + 15, (await process.Exited.InTime()).Code);
        }
        Assert.False(Directory.Exists(FolderOf("late")));
    }

    [Fact]
    public async Task The_runtime_is_told_and_one_that_hangs_is_killed()
    {
        var runtime = _bed.Script("runtime", $"echo $* >{_bed.PathOf("call")}.tmp; echo $$ >{_bed.PathOf("pid")}; mv {_bed.PathOf("call")}.tmp {_bed.PathOf("call")}; exec sleep 1000");
        Write("one", null, record => (record.Runtime, record.RuntimeRoot) = (runtime, "/root"));
        var removing = _leftovers.RemoveAsync(FolderOf("one"));
        await Within.Until(() => File.Exists(_bed.PathOf("call")) && _bed.Time.IsArmed(TimeSpan.FromSeconds(10)), "the runtime's call");
        Assert.Equal("--root /root delete --force one\n", await File.ReadAllTextAsync(_bed.PathOf("call"), TestContext.Current.CancellationToken));

        _bed.Time.Advance(TimeSpan.FromSeconds(10));

        await removing.InTime();
        var pid = (await File.ReadAllTextAsync(_bed.PathOf("pid"), TestContext.Current.CancellationToken)).Trim();
        await Within.Until(() => !Directory.Exists($"/proc/{pid}"), "its end");
        Assert.False(Directory.Exists(FolderOf("one")));
    }
}
