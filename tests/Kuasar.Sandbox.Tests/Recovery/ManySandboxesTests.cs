using System.Diagnostics;
using System.Globalization;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Tests.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;

namespace Kuasar.Sandbox.Tests.Recovery;

public sealed class ManySandboxesTests : IAsyncLifetime
{
    private RecoveryBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await RecoveryBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    /// <summary>How long it takes is told, and no test's to judge.</summary>
    [Fact]
    public async Task Five_hundred_sandboxes_with_a_task_each_are_taken_over()
    {
        const int Count = 500;
        await _bed.RunAsync();
        var stopwatch = new Stopwatch();
        await _bed.RestartAsync(() =>
        {
            for (var i = 0; i < Count; i++)
            {
                Write(i, Libc.Spawn(new SpawnRequest("/bin/sleep", [_bed.Seconds]) { NewSession = true }));
            }
            stopwatch.Start();
        });
        var serving = stopwatch.Elapsed;
        for (var i = 0; i < Count; i++)
        {
            Assert.Equal(Status.Running, await _bed.StatusAsync(TaskOf(i)));
        }
        Tell($"{Count} sandboxes with a task each: serving after {serving.TotalMilliseconds:0} ms, each task asked for and there after {stopwatch.Elapsed.TotalMilliseconds:0} ms");
        Assert.Equal("SANDBOX_READY", await _bed.Bed.StateAsync(PodOf(Count - 1)));
        Assert.Equal(Count + 1, _bed.Processes().Length);
        foreach (var pid in _bed.Processes())
        {
            Libc.Kill(pid, Libc.SIGKILL);
        }
        Assert.Equal(137u, (await _bed.WaitAsync(TaskOf(0))).ExitStatus);
        Assert.Equal(137u, (await _bed.Bed.WaitAsync(PodOf(0))).ExitStatus);
    }

    private static string PodOf(int i) => string.Create(CultureInfo.InvariantCulture, $"pod{i}");

    private static string TaskOf(int i) => string.Create(CultureInfo.InvariantCulture, $"task{i}");

    private static void Tell(string text) => TestContext.Current.TestOutputHelper?.WriteLine(text);

    private void Write(int i, int pid)
    {
        var process = ProcessIdentity.Of(pid)!;
        var pod = new SandboxRecord
        {
            ContainerdAddress = _bed.Bed.ContainerdAddress, Namespace = SandboxBed.Namespace, Id = PodOf(i), Schema = RecordFile.Schema,
            State = SandboxRecord.Types.State.Ready, Pid = (uint)pid, CreatedAt = Timestamp.FromDateTimeOffset(DateTimeOffset.UnixEpoch),
            Bundle = _bed.Bed.PathOf("bundles/one"), Options = SandboxBed.Options(_bed.Seconds), Saved = TypeUrl.Pack(new StringValue { Value = _bed.Seconds }),
            Processes = { process }, BootId = ProcessIdentity.BootId,
        };
        SandboxRecordFile.Write(_bed.Bed.FolderOf(pod.Id), pod);
        var task = _bed.Files("one").Record;
        (task.Id, task.Pod, task.Sandbox, task.Saved) = (TaskOf(i), pod.Id, pod.Id, TypeUrl.Pack(new StringValue { Value = TaskOf(i) }));
        task.Processes.Clear();
        task.Processes.Add(process);
        Directory.CreateDirectory(Path.Combine(task.RuntimeRoot, task.Id));
        TaskRecordFile.Write(_bed.Files(task.Id).Path, task);
    }
}
