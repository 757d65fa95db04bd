using Google.Protobuf.WellKnownTypes;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Mounts;
using Kuasar.Sandbox.Sandboxes;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Tasks;

/// <summary>
/// What a task holds beside its container: its folder and record, its mounts, its share of the sandbox. Taken step by step, each step
/// recorded before it is taken; released as a whole, and as often as wanted. Safe for concurrent use: execs have lanes of their own.
/// </summary>
internal sealed partial class TaskResources(string folder, TaskRecord record, ILogger logger)
{
    private readonly Lock _lock = new();
    private SandboxMember? _sandbox;
    private bool _released;

    internal string Folder => folder;

    /// <summary>How many OOM kills containerd was told of.</summary>
    internal long OomKills => (long)record.OomKills;

    /// <summary>The author's own.</summary>
    internal Any? Saved => record.Saved;

    internal void Open()
    {
        Libc.CreateFolders(folder, DomainPaths.FolderMode);
        Note(_ => { });
    }

    internal void Mount(IReadOnlyList<MountSpec> mounts, string rootfs)
    {
        if (mounts.Count == 0)
        {
            return;
        }
        Note(record => record.Mounts.Add(rootfs));
        // Mounts at a place below the root go with it: unmounting is of the whole stack, and lazy where it must be.
        foreach (var point in RootfsMounter.Mount(mounts, rootfs).Where(point => !record.Mounts.Contains(point)))
        {
            record.Mounts.Add(point);
        }
    }

    internal async Task<SandboxMember> JoinAsync(SandboxManager sandboxes, TaskKey key) =>
        _sandbox = await sandboxes.JoinAsync(key, record.ContainerdAddress, record.Bundle).ConfigureAwait(false);

    /// <summary>Takes the place again that it had in an earlier life.</summary>
    internal async Task<SandboxMember> JoinAgainAsync(SandboxManager sandboxes, TaskKey key) =>
        _sandbox = await sandboxes.JoinAgainAsync(key, new SandboxRequest(record.ContainerdAddress, record.Bundle), isImplied: record.Sandbox.Length == 0)
            .ConfigureAwait(false);

    /// <summary>Writes down who must be ended if this sandboxer cannot do it any more. From here on the task is taken over, not undone.</summary>
    internal void Record(Container container) => Note(record =>
    {
        record.Remote = container.IsRemote;
        if (!record.Remote)
        {
            record.Processes.Add(ProcessIdentity.OfStarted(container.ProcessId));
        }
        record.Cgroups.AddRange(container.Cgroup?.Folders ?? []);
        record.State = TaskRecord.Types.State.Created;
    });

    /// <summary>Writes down which runtime is about to keep state of the container.</summary>
    internal void Intend(OciRuntime runtime) =>
        Note(record => (record.Runtime, record.RuntimeRoot) = (runtime.Path, runtime.Options.Root));

    /// <summary>Writes down what is about to be done.</summary>
    /// <exception cref="IOException">It could not be written: then it must not be done.</exception>
    internal void Note(Action<TaskRecord> change)
    {
        lock (_lock)
        {
            if (_released)
            {
                return;
            }
            var next = record.Clone();
            change(next);
            TaskRecordFile.Write(folder, next);
            record = next;
        }
    }

    /// <summary>Writes down what has happened. That is so whether or not it can be written: without, a later life looks for itself.</summary>
    internal void NoteOutcome(Action<TaskRecord> change)
    {
        try
        {
            Note(change);
        }
        catch (IOException e)
        {
            NotNoted(logger, e, folder);
        }
    }

    /// <summary>Null: the record has none of this id.</summary>
    internal static ExecRecord? ExecOf(TaskRecord record, string execId) => record.Execs.FirstOrDefault(exec => exec.Id == execId);

    /// <summary>As <see cref="Note"/>, of one exec.</summary>
    internal void NoteExec(string execId, Action<ExecRecord> change) => Note(record =>
    {
        if (ExecOf(record, execId) is { } exec)
        {
            change(exec);
        }
    });

    /// <summary>Writes down how a process ended, before containerd is told.</summary>
    /// <param name="execId">Empty for init.</param>
    /// <param name="status">How.</param>
    internal void NoteExit(string execId, ExitStatus status) => NoteOutcome(record =>
    {
        var exit = new ExitRecord { Status = status.Code, At = Timestamp.FromDateTimeOffset(status.ExitedAt) };
        if (execId.Length == 0)
        {
            (record.State, record.Exit) = (TaskRecord.Types.State.Stopped, exit);
        }
        else if (ExecOf(record, execId) is { } exec)
        {
            (exec.State, exec.Exit) = (TaskRecord.Types.State.Stopped, exit);
        }
    });

    /// <summary>Writes down that containerd has taken the event of an exit.</summary>
    internal void NoteExitTold(string execId) => NoteOutcome(record =>
    {
        if ((execId.Length == 0 ? record.Exit : ExecOf(record, execId)?.Exit) is { } exit)
        {
            exit.Told = true;
        }
    });

    /// <exception cref="IOException">A mount or a file could not be removed; the rest is kept for another try.</exception>
    internal async Task ReleaseAsync()
    {
        RootfsMounter.Unmount(record.Mounts);
        if (_sandbox is { } sandbox)
        {
            await sandbox.DisposeAsync().ConfigureAwait(false);
        }
        lock (_lock)
        {
            RecordFile.RemoveWithFolder(TaskRecordFile.PathIn(folder));
            _released = true;
        }
    }

    [LoggerMessage(EventId = 302, Level = LogLevel.Warning, Message = "The record in {Folder} could not be written")]
    private static partial void NotNoted(ILogger logger, Exception e, string folder);
}
