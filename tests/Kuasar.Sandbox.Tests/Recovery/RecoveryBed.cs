using System.Globalization;
using CrashingSandboxer;
using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tests.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;
using SystemTask = System.Threading.Tasks.Task;

namespace Kuasar.Sandbox.Tests.Recovery;

/// <summary>
/// A host whose containers are processes of this host, which outlive it, and the next one on the same folder. This process is everybody's
/// subreaper, as a keeper would be: the end of a process that nobody has reaped meanwhile is known to the next life.
/// </summary>
internal sealed class RecoveryBed : IAsyncDisposable
{
    private static int s_last;

    private RecoveryBed(SandboxBed bed, string seconds, string runtime) => (Bed, Seconds, Runtime) = (bed, seconds, runtime);

    internal SandboxBed Bed { get; }

    /// <summary>What its processes sleep, by which they are told from all others.</summary>
    internal string Seconds { get; }

    internal string Runtime { get; }

    /// <summary>Of the life that is.</summary>
    internal ProcessSandboxer Author { get; private set; } = null!;

    /// <summary>Done to the author of the next life, before it is asked anything.</summary>
    internal Action<ProcessSandboxer> Prepare { get; set; } = _ => { };

    internal static RecoveryBed Make()
    {
        Libc.BecomeSubreaper();
        var bed = SandboxBed.Make();
        var seconds = string.Create(CultureInfo.InvariantCulture, $"1000{Environment.ProcessId:0000000}{Interlocked.Increment(ref s_last)}");
        ScriptRuntime.Write(bed.PathOf("runtime"), seconds);
        var made = new RecoveryBed(bed, seconds, bed.PathOf("runtime"));
        bed.Author = () =>
        {
            made.Author = new ProcessSandboxer(made.Runtime);
            made.Prepare(made.Author);
            return made.Author;
        };
        return made;
    }

    internal static async Task<RecoveryBed> StartAsync()
    {
        var bed = Make();
        bed.Bed.Containerd.Start();
        await bed.Bed.BeginAsync();
        return bed;
    }

    internal SystemTask RestartAsync(Action? between = null) => Bed.RestartAsync(between);

    internal TaskFiles Files(string id) => new(Bed.Paths.TaskFolder(Bed.ContainerdAddress, SandboxBed.Namespace, id));

    internal SystemTask CreatePodAsync() => Bed.CreateAsync("pod", SandboxBed.Options(Seconds));

    internal async SystemTask RunPodAsync()
    {
        await CreatePodAsync();
        await Bed.StartAsync("pod");
    }

    /// <summary>The pid of a task that is created, of a pod or standing alone.</summary>
    internal async Task<int> CreateAsync(string id = "one", string? pod = null) => (int)(await Bed.Tasks.CreateAsync(new CreateTaskRequest
    {
        Id = id, Bundle = Bed.MakeBundle(id, """{"ociVersion":"1.0.2"}""", pod),
    }).ResponseAsync.InTime()).Pid;

    internal async Task<int> RunAsync(string id = "one", string? pod = null)
    {
        await CreateAsync(id, pod);
        return await StartAsync(id);
    }

    internal async Task<int> StartAsync(string id = "one", string exec = "") =>
        (int)(await Bed.Tasks.StartAsync(new StartRequest { Id = id, ExecId = exec }).ResponseAsync.InTime()).Pid;

    internal async Task<int> ExecAsync(string exec, bool start = true)
    {
        await Bed.Tasks.ExecAsync(new ExecProcessRequest { Id = "one", ExecId = exec, Spec = Tests.Tasks.TaskBed.ExecSpec }).ResponseAsync.InTime();
        return start ? await StartAsync("one", exec) : 0;
    }

    internal Task<StateResponse> StateAsync(string id = "one", string exec = "") =>
        Bed.Tasks.StateAsync(new StateRequest { Id = id, ExecId = exec }).ResponseAsync.InTime();

    internal async Task<Status> StatusAsync(string id = "one", string exec = "") => (await StateAsync(id, exec)).Status;

    internal Task<WaitResponse> WaitAsync(string id = "one", string exec = "") =>
        Bed.Tasks.WaitAsync(new WaitRequest { Id = id, ExecId = exec }).ResponseAsync.InTime();

    internal SystemTask KillAsync(string id = "one", string exec = "", uint signal = 9) =>
        Bed.Tasks.KillAsync(new KillRequest { Id = id, ExecId = exec, Signal = signal }).ResponseAsync.InTime();

    internal Task<DeleteResponse> DeleteAsync(string id = "one", string exec = "") =>
        Bed.Tasks.DeleteAsync(new DeleteRequest { Id = id, ExecId = exec }).ResponseAsync.InTime();

    /// <summary>A shim's <c>delete</c>.</summary>
    internal async Task<RemoveResponse> RemoveAsync(string id) => await Bed.Control.RemoveAsync(new RemoveRequest
    {
        Containerd = Bed.Instance, Namespace = SandboxBed.Namespace, Id = id,
    }).ResponseAsync.InTime();

    internal SystemTask FailsAsync(StatusCode code, string id = "one", string exec = "") => SandboxBed.Fails(code, () => StateAsync(id, exec));

    /// <summary>Kills it, gone or not, and keeps its end from everybody: as if its parent had died with it.</summary>
    internal static void KillUnseen(int pid)
    {
        Libc.Kill(pid, Libc.SIGKILL);
        SpinWait.SpinUntil(() => Libc.TryReap(pid) is not null, Within.Limit);
    }

    internal static void Kill(int pid, int signal)
    {
        Libc.Kill(pid, signal);
        SpinWait.SpinUntil(() => Procfs.IsZombie(pid), Within.Limit);
    }

    /// <summary>All of its processes that live, in no order.</summary>
    internal int[] Processes() =>
        [.. Directory.GetDirectories("/proc").Select(Path.GetFileName).Where(name => char.IsAsciiDigit(name![0])).Select(name => int.Parse(name!, CultureInfo.InvariantCulture))
            .Where(pid => CommandOf(pid).Contains(Seconds, StringComparison.Ordinal))];

    private static string CommandOf(int pid)
    {
        try
        {
            return File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    /// <summary>The exits that containerd has been told of by now.</summary>
    internal async Task<string[]> ExitsAsync()
    {
        // Events come in order: when this one is there, all before it are.
        await CreateAsync("mark");
        var exits = new List<string>();
        while (await Bed.Containerd.NextAsync() is var envelope && !(envelope.Topic == "/tasks/create" && TaskCreate.Parser.ParseFrom(envelope.Event.Value).ContainerId == "mark"))
        {
            if (envelope.Topic == "/tasks/exit" && TaskExit.Parser.ParseFrom(envelope.Event.Value) is { ContainerId: not "mark" } exit)
            {
                exits.Add(FormattableString.Invariant($"{exit.Id} {exit.ExitStatus}"));
            }
        }
        await DeleteAsync("mark");
        return [.. exits];
    }

    /// <summary>Nothing is left of anything but of these tasks.</summary>
    internal async SystemTask AssertNothingLeftButAsync(params string[] tasks)
    {
        await Within.Until(() => DomainPaths.IdFolders(Bed.Paths.Tasks).Select(Path.GetFileName).Order().SequenceEqual(tasks.Order()), "the tasks' folders: no more");
        await Within.Until(() => DomainPaths.IdFolders(Bed.Paths.Sandboxes).Select(Path.GetFileName).All(tasks.Contains), "the sandboxes' folders: no more");
        await Within.Until(() => Processes().Length == tasks.Length, "the processes: no more");
        Assert.Empty(MountTable.Below(Bed.Paths.Run));
        Assert.Empty(Directory.GetFiles(Bed.Paths.Run, "*.tmp", SearchOption.AllDirectories));
        Assert.False(Directory.Exists(Bed.Paths.Quarantine));
    }

    public async ValueTask DisposeAsync()
    {
        // A call of the runtime that is under way may make one more.
        while (Processes() is { Length: > 0 } left)
        {
            Array.ForEach(left, pid => Libc.Kill(pid, Libc.SIGKILL));
            await SystemTask.Delay(1);
        }
        foreach (var point in MountTable.Below(Bed.Paths.Run))
        {
            Libc.UnmountAll(point);
        }
        await Bed.DisposeAsync();
    }

    /// <summary>A task's folder on disk.</summary>
    internal sealed record TaskFiles(string Path)
    {
        internal string RecordPath => TaskRecordFile.PathIn(Path);

        internal TaskRecord Record => TaskRecordFile.Read(Path)!;

        internal bool Exists => Directory.Exists(Path);

        internal void Change(Action<TaskRecord> change)
        {
            var record = Record;
            change(record);
            TaskRecordFile.Write(Path, record);
        }
    }
}
