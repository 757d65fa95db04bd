using System.Diagnostics;
using System.Globalization;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.TaskV3;

namespace Kuasar.Shim.Hosting.Tests;

public sealed class DeleteTests : IDisposable
{
    private readonly ShimUnderTest _shim = new();
    private readonly List<Process> _processes = [];
    private readonly List<string> _cgroups = [];

    public void Dispose()
    {
        foreach (var process in _processes)
        {
            process.Kill();
            process.WaitForExit();
            process.Dispose();
        }
        foreach (var cgroup in Enumerable.Reverse(_cgroups))
        {
            if (File.Exists(Path.Combine(cgroup, "freezer.state")))
            {
                File.WriteAllText(Path.Combine(cgroup, "freezer.state"), "THAWED");
            }
            for (var i = 0; Directory.Exists(cgroup) && i < 100; i++)
            {
                try
                {
                    Directory.Delete(cgroup);
                }
                catch (IOException)
                {
                    Thread.Sleep(10);
                }
            }
        }
        _shim.Dispose();
    }

    [Fact]
    public void Delete_SandboxerUp_GivesItsAnswerAndTouchesNothing()
    {
        var process = Sleep();
        Write(Record("a", process));
        var seen = new List<RemoveRequest>();
        using var sandboxer = new FakeSandboxer(_shim.Paths.ControlSocket, (method, payload) =>
        {
            Assert.Equal("Remove", method);
            seen.Add(RemoveRequest.Parser.ParseFrom(payload));
            return FakeSandboxer.Payload(new RemoveResponse { Pid = 5, ExitStatus = 3, ExitedAt = new Timestamp { Seconds = 7 } });
        });

        var result = _shim.Delete("a");

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Equal(new DeleteResponse { Pid = 5, ExitStatus = 3, ExitedAt = new Timestamp { Seconds = 7 } }, DeleteResponse.Parser.ParseFrom(result.Output));
        var request = Assert.Single(seen);
        Assert.Equal(("k8s.io", "a", _shim.Bundle("a"), ShimUnderTest.Containerd), (request.Namespace, request.Id, request.Bundle, request.Containerd.GrpcAddress));
        Assert.False(process.HasExited);
        Assert.False(Read("a").Removed);
    }

    [Fact]
    public void Delete_SandboxerKnowsNothing_Killed()
    {
        using var sandboxer = new FakeSandboxer(_shim.Paths.ControlSocket, (_, _) => FakeSandboxer.Payload(new RemoveResponse()));

        AssertKilled(_shim.Delete("a"), pid: 0);
    }

    [Fact]
    public void Delete_NoRecord_NothingToDo()
    {
        AssertKilled(_shim.Delete("a"), pid: 0);
        Assert.False(Directory.Exists(_shim.Paths.Run));
    }

    [Fact]
    public void Delete_SandboxerDown_KillsWhatIsRecordedAndNothingElse()
    {
        Process first = Sleep(), second = Sleep(), other = Sleep();
        Write(Record("a", first, second));
        Write(Record("a1", other));

        var result = _shim.Delete("a");

        AssertKilled(result, first.Id);
        Assert.True(first.WaitForExit(5000));
        Assert.True(second.WaitForExit(5000));
        Assert.False(other.HasExited);
        Assert.True(Read("a").Removed);
        Assert.False(Read("a1").Removed);
        AssertKilled(_shim.Delete("a"), first.Id);
    }

    [Theory]
    [InlineData(1UL, "")]
    [InlineData(0UL, "another boot")]
    public void Delete_PidOfAnother_NotKilled(ulong laterBy, string boot)
    {
        var process = Sleep();
        var record = Record("a", process);
        record.Processes[0].StartTime += laterBy;
        record.Processes[0].BootId = boot.Length > 0 ? boot : record.Processes[0].BootId;
        Write(record);

        Assert.Equal(0, _shim.Delete("a").ExitCode);

        Assert.False(process.WaitForExit(200));
        Assert.True(Read("a").Removed);
    }

    [Fact]
    public void Delete_RecordThatNamesAnotherTask_Quarantined()
    {
        var process = Sleep();
        TaskRecordFile.Write(Folder("a"), Record("b", process));

        var result = _shim.Delete("a");

        Assert.Equal(0, result.ExitCode);
        Assert.False(process.WaitForExit(200));
        Assert.Single(Directory.GetFiles(_shim.Paths.Quarantine));
    }

    [Fact]
    public void Delete_SandboxerHangs_FallsBackInTime()
    {
        var process = Sleep();
        Write(Record("a", process));
        using var sandboxer = new FakeSandboxer(_shim.Paths.ControlSocket, (_, _) => null);

        var result = _shim.Delete("a");

        AssertKilled(result, process.Id);
        Assert.True(process.WaitForExit(5000));
        Assert.InRange(result.Elapsed, TimeSpan.FromSeconds(1.9), TimeSpan.FromSeconds(4));
    }

    [Fact]
    public void Delete_SandboxerFails_FallsBackAndSaysSo()
    {
        var process = Sleep();
        Write(Record("a", process));
        using var sandboxer = new FakeSandboxer(_shim.Paths.ControlSocket, (_, _) => FakeSandboxer.Error(13, "stuck"));

        var result = _shim.Delete("a");

        Assert.Equal(0, result.ExitCode);
        Assert.Equal("kuasar-runc: the sandboxer refuses Remove: stuck\n", result.Error);
        Assert.True(process.WaitForExit(5000));
    }

    [Fact]
    public void Delete_Mounts_UndoneLastFirst()
    {
        RequireRoot();
        var bundle = _shim.Bundle("a");
        var rootfs = Path.Combine(bundle, "rootfs");
        var inner = Path.Combine(bundle, "outer", "inner");
        Mount(rootfs);
        Mount(rootfs);
        Mount(Path.GetDirectoryName(inner)!);
        Mount(inner);
        var other = Path.Combine(_shim.Bundle("b"), "rootfs");
        Mount(other);
        var record = Record("a");
        record.Mounts.Add([Path.GetDirectoryName(inner)!, inner]);
        Write(record);

        AssertKilled(_shim.Delete("a"), pid: 0);

        Assert.Equal([other], MountsBelow(Path.GetDirectoryName(bundle)!));
    }

    [Fact]
    public void Delete_CorruptRecord_QuarantinedAndRootfsUnmounted()
    {
        RequireRoot();
        Mount(Path.Combine(_shim.Bundle("a"), "rootfs"));
        Directory.CreateDirectory(Folder("a"));
        File.WriteAllText(TaskRecordFile.PathIn(Folder("a")), "garbage");

        var result = _shim.Delete("a");

        Assert.Equal(0, result.ExitCode);
        Assert.Equal(137u, DeleteResponse.Parser.ParseFrom(result.Output).ExitStatus);
        Assert.Contains("is not a record of this kind", result.Error, StringComparison.Ordinal);
        Assert.Equal("garbage", File.ReadAllText(Assert.Single(Directory.GetFiles(_shim.Paths.Quarantine))));
        Assert.Empty(MountsBelow(_shim.Bundle("a")));
        Assert.Empty(_shim.Delete("a").Error);
    }

    [Fact]
    public void Delete_FolderGone_RecordedBundleServes()
    {
        var process = Sleep();
        Write(Record("a", process));

        var result = _shim.Run(ShimUnderTest.Arguments("a", "delete"), shell: "mkdir gone && cd gone && rmdir ../gone && exec \"$@\" </dev/null");

        AssertKilled(result, process.Id);
        Assert.True(process.WaitForExit(5000));
    }

    [Fact]
    public void Delete_WithoutBundle_OnlyAFolderOfThatIdIsTaken()
    {
        RequireRoot();
        Mount(Path.Combine(_shim.Bundle("a"), "rootfs"));
        Mount(Path.Combine(_shim.Bundle("b"), "rootfs"));

        AssertKilled(_shim.Run(ShimUnderTest.Arguments("a", "delete"), folder: _shim.Bundle("b")), pid: 0);
        Assert.Single(MountsBelow(_shim.Bundle("b")));
        AssertKilled(_shim.Run(ShimUnderTest.Arguments("a", "delete"), folder: _shim.Bundle("a")), pid: 0);
        Assert.Empty(MountsBelow(_shim.Bundle("a")));
    }

    [Theory]
    [InlineData("cgroup2", "")]
    [InlineData("cgroup", "freezer")]
    public void Delete_Cgroup_KilledWithSubfolders(string type, string controller)
    {
        var cgroup = Cgroup(type, controller);
        var inner = Directory.CreateDirectory(Path.Combine(cgroup, "inner")).FullName;
        _cgroups.Add(inner);
        Process first = Sleep(), second = Sleep(), other = Sleep();
        File.WriteAllText(Path.Combine(cgroup, "cgroup.procs"), first.Id.ToString(CultureInfo.InvariantCulture));
        File.WriteAllText(Path.Combine(inner, "cgroup.procs"), second.Id.ToString(CultureInfo.InvariantCulture));
        var frozen = Path.Combine(inner, type == "cgroup2" ? "cgroup.freeze" : "freezer.state");
        File.WriteAllText(frozen, type == "cgroup2" ? "1" : "FROZEN");
        var record = Record("a");
        record.Cgroups.Add([cgroup, "/sys/fs/cgroup/none/such"]);
        Write(record);

        AssertKilled(_shim.Delete("a"), pid: 0);

        Assert.True(first.WaitForExit(5000));
        Assert.True(second.WaitForExit(5000));
        Assert.False(other.HasExited);
    }

    [Fact]
    public void Kill_CgroupOfThisProcess_Refused()
    {
        var cgroup = Cgroup("cgroup2", "");
        var other = Sleep();
        var parent = Path.GetDirectoryName(cgroup)!;
        var home = Path.Join(parent, File.ReadLines("/proc/self/cgroup").First(line => line.StartsWith("0::", StringComparison.Ordinal))[3..], "cgroup.procs");
        File.WriteAllText(Path.Combine(cgroup, "cgroup.procs"), other.Id.ToString(CultureInfo.InvariantCulture));
        File.WriteAllText(Path.Combine(cgroup, "cgroup.procs"), Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
        try
        {
            Assert.Throws<InvalidDataException>(() => CgroupProcesses.Kill(cgroup, Deadline.After(TimeSpan.FromSeconds(1))));
            Assert.False(other.HasExited);
        }
        finally
        {
            File.WriteAllText(home, Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
        }
    }

    private static void AssertKilled(ShimResult result, int pid)
    {
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        var response = DeleteResponse.Parser.ParseFrom(result.Output);
        Assert.Equal(((uint)pid, 137u), (response.Pid, response.ExitStatus));
        Assert.InRange(response.ExitedAt.ToDateTime(), DateTime.UtcNow.AddMinutes(-1), DateTime.UtcNow.AddSeconds(1));
    }

    private string Folder(string id) => _shim.Paths.TaskFolder(ShimUnderTest.Containerd, "k8s.io", id);

    private void Write(TaskRecord record) => TaskRecordFile.Write(Folder(record.Id), record);

    private TaskRecord Read(string id) => TaskRecordFile.Read(Folder(id))!;

    private TaskRecord Record(string id, params Process[] processes)
    {
        var record = new TaskRecord { ContainerdAddress = ShimUnderTest.Containerd, Namespace = "k8s.io", Id = id, Bundle = _shim.Bundle(id) };
        record.Processes.Add(processes.Select(process => ProcessIdentity.Of(process.Id)!));
        return record;
    }

    private Process Sleep()
    {
        var process = Process.Start("/bin/sleep", "600");
        _processes.Add(process);
        return process;
    }

    private string Cgroup(string type, string option)
    {
        RequireRoot();
        var mount = File.ReadLines("/proc/self/mounts").Select(line => line.Split(' '))
            .FirstOrDefault(fields => fields[2] == type && (option.Length == 0 || fields[3].Split(',').Contains(option)));
        Assert.SkipWhen(mount is null, $"no {type} {option} here");
        var cgroup = Path.Combine(mount![1], $"kuasar-test-{Guid.NewGuid():N}");
        Directory.CreateDirectory(cgroup);
        _cgroups.Add(cgroup);
        return cgroup;
    }

    private static void RequireRoot() => Assert.SkipUnless(Libc.EffectiveUserId == 0, "needs root");

    private static void Mount(string folder)
    {
        Directory.CreateDirectory(folder);
        Libc.Mount("tmpfs", folder, "tmpfs", 0, "size=64k");
    }

    private static string[] MountsBelow(string folder) =>
        [.. File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4]).Where(point => point.StartsWith(folder + "/", StringComparison.Ordinal))];
}
