using System.Diagnostics;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.TaskV3;

namespace Kuasar.Shim.Hosting.Tests;

/// <summary><c>delete</c> for a sandbox's id while the sandboxer is down.</summary>
public sealed class DeleteSandboxTests : IDisposable
{
    private readonly ShimUnderTest _shim = new();
    private readonly List<Process> _processes = [];

    public void Dispose()
    {
        foreach (var process in _processes)
        {
            process.Kill();
            process.WaitForExit();
            process.Dispose();
        }
        _shim.Dispose();
    }

    [Fact]
    public void Delete_SandboxerDown_EndsTheSandboxWithItsTasksAndNoOthers()
    {
        Process sandbox = Sleep(), own = Sleep(), alien = Sleep(), other = Sleep();
        Write(Record("a", sandbox));
        Write(Task("c1", "a", own));
        Write(Task("c2", "b", alien));
        Write(Task("c3", "", other));

        var result = _shim.Delete("a");

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        var response = DeleteResponse.Parser.ParseFrom(result.Output);
        Assert.Equal(((uint)sandbox.Id, 137u), (response.Pid, response.ExitStatus));
        Assert.True(sandbox.WaitForExit(5000) && own.WaitForExit(5000));
        Assert.False(alien.HasExited || other.HasExited);
        // Word for the sandboxer, which finishes.
        Assert.True(SandboxRecordFile.Read(Folder("a"))!.Removed);
        Assert.True(TaskRecordFile.Read(TaskFolder("c1"))!.Removed);
        Assert.False(TaskRecordFile.Read(TaskFolder("c2"))!.Removed);
        Assert.Equal(0, _shim.Delete("a").ExitCode);
    }

    [Fact]
    public void Delete_SandboxThatTasksImply_EndsItAlone()
    {
        Process sandbox = Sleep(), task = Sleep();
        var record = Record("a", sandbox);
        record.Implied = true;
        Write(record);
        Write(Task("c1", "", task));

        Assert.Equal(0, _shim.Delete("a").ExitCode);

        Assert.True(sandbox.WaitForExit(5000));
        Assert.False(task.HasExited);
    }

    [Fact]
    public void Delete_SandboxWithMounts_UnmountsAlsoWhatNobodyRecorded()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "root is needed to mount");
        var record = Record("a");
        string recorded = Path.Combine(Folder("a"), "a b"), unrecorded = Path.Combine(Folder("a"), "c"), outside = Path.Combine(_shim.Bundle("a"), "outside");
        foreach (var point in new[] { recorded, unrecorded, outside })
        {
            Directory.CreateDirectory(point);
            Libc.Mount("tmpfs", point, "tmpfs", 0, null);
        }
        record.Mounts.Add(recorded);
        Write(record);
        try
        {
            Assert.Equal(0, _shim.Delete("a").ExitCode);

            Assert.Empty(MountTable.Below(Folder("a")));
            Assert.Equal([outside], MountTable.Below(_shim.Bundle("a")));
        }
        finally
        {
            Libc.UnmountAll(outside);
        }
    }

    [Fact]
    public void Delete_DamagedSandboxRecord_Quarantined()
    {
        var sandbox = Sleep();
        Write(Record("a", sandbox));
        var path = SandboxRecordFile.PathIn(Folder("a"));
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^1]);

        var result = _shim.Delete("a");

        Assert.Equal(0, result.ExitCode);
        Assert.False(sandbox.WaitForExit(200));
        Assert.EndsWith(".sandbox.pb", Assert.Single(Directory.GetFiles(_shim.Paths.Quarantine)), StringComparison.Ordinal);
    }

    [Fact]
    public void Delete_RecordOfAnotherSandbox_Quarantined()
    {
        var sandbox = Sleep();
        SandboxRecordFile.Write(Folder("a"), Record("b", sandbox));

        Assert.Equal(0, _shim.Delete("a").ExitCode);

        Assert.False(sandbox.WaitForExit(200));
        Assert.Single(Directory.GetFiles(_shim.Paths.Quarantine));
    }

    private string Folder(string id) => _shim.Paths.SandboxFolder(ShimUnderTest.Containerd, "k8s.io", id);

    private string TaskFolder(string id) => _shim.Paths.TaskFolder(ShimUnderTest.Containerd, "k8s.io", id);

    private void Write(SandboxRecord record) => SandboxRecordFile.Write(Folder(record.Id), record);

    private void Write(TaskRecord record) => TaskRecordFile.Write(TaskFolder(record.Id), record);

    private SandboxRecord Record(string id, params Process[] processes)
    {
        var record = new SandboxRecord { ContainerdAddress = ShimUnderTest.Containerd, Namespace = "k8s.io", Id = id, Bundle = _shim.Bundle(id) };
        record.Processes.Add(processes.Select(process => ProcessIdentity.Of(process.Id)!));
        record.Pid = (uint)(processes.Length > 0 ? processes[0].Id : 0);
        return record;
    }

    private TaskRecord Task(string id, string sandbox, Process process)
    {
        var record = new TaskRecord
        {
            ContainerdAddress = ShimUnderTest.Containerd, Namespace = "k8s.io", Id = id, Bundle = _shim.Bundle(id), Sandbox = sandbox,
        };
        record.Processes.Add(ProcessIdentity.Of(process.Id)!);
        return record;
    }

    private Process Sleep()
    {
        var process = Process.Start("/bin/sleep", "600");
        _processes.Add(process);
        return process;
    }
}
