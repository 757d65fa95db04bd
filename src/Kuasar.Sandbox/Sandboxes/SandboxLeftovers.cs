using Kuasar.Domain;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>
/// Ends sandboxes that an earlier life of this sandboxer left, with their tasks, by their records. An unreadable record is moved to
/// quarantine and its sandbox is left alone.
/// </summary>
internal sealed partial class SandboxLeftovers(DomainPaths paths, TaskRegistry tasks, Leftovers taskLeftovers, ILogger logger)
{
    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(2);

    /// <summary>The folders of all sandboxes that are or have been.</summary>
    internal List<string> Folders() => DomainPaths.IdFolders(paths.Sandboxes);

    /// <summary>Makes room for a sandbox of this id; the caller has the id to itself.</summary>
    /// <exception cref="SandboxException">Unavailable: what is left could not be removed. FailedPrecondition: a task asks, for a sandbox that is no more.</exception>
    internal async Task ClearAsync(string folder, bool implied)
    {
        if (!Directory.Exists(folder) || Read(folder) is not { } record)
        {
            return;
        }
        if (implied && !record.Implied)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"sandbox {record.Namespace}/{record.Id} has ended with the sandboxer that had made it");
        }
        if (!await RemoveAsync(folder, record).ConfigureAwait(false))
        {
            throw new SandboxException(SandboxError.Unavailable, $"what is left of an earlier sandbox {record.Namespace}/{record.Id} could not be removed yet");
        }
    }

    /// <summary>Ends what is left of this one id; its pid if it was known, else 0. The caller has the id to itself.</summary>
    internal async Task<int> RemoveAsync(string folder)
    {
        if (!Directory.Exists(folder) || Read(folder) is not { } record)
        {
            return 0;
        }
        await RemoveAsync(folder, record).ConfigureAwait(false);
        return (int)record.Pid;
    }

    /// <summary>As above; true when nothing is left.</summary>
    internal async Task<bool> RemoveAsync(string folder, SandboxRecord record)
    {
        foreach (var (taskFolder, task) in record.Implied ? [] : ForcedRemoval.TasksOf(paths, record))
        {
            var key = new TaskKey(DomainPaths.InstanceKey(task.ContainerdAddress), task.Namespace, task.Id);
            await tasks.WhileFreeAsync(key, () => taskLeftovers.RemoveAsync(taskFolder)).ConfigureAwait(false);
        }
        List<string> problems = [];
        var ended = await Task.Run(() => ForcedRemoval.End(record, folder, EndLimit, problems)).ConfigureAwait(false);
        if (problems.Count > 0)
        {
            Incomplete(logger, record.Namespace, record.Id, string.Join("; ", problems));
        }
        if (ended)
        {
            SandboxRecordFile.RemoveWithFolder(folder);
            Removed(logger, record.Namespace, record.Id);
        }
        return ended;
    }

    internal SandboxRecord? Read(string folder)
    {
        try
        {
            return SandboxRecordFile.Read(folder);
        }
        catch (InvalidDataException e)
        {
            Unreadable(logger, folder, e.Message, SandboxRecordFile.Quarantine(paths, folder));
            return null;
        }
    }

    [LoggerMessage(EventId = 510, Level = LogLevel.Information, Message = "Removed what was left of sandbox {Namespace}/{Id}")]
    private static partial void Removed(ILogger logger, string @namespace, string id);

    [LoggerMessage(EventId = 511, Level = LogLevel.Warning, Message = "Sandbox {Namespace}/{Id} could not be removed entirely: {Problems}")]
    private static partial void Incomplete(ILogger logger, string @namespace, string id, string problems);

    [LoggerMessage(EventId = 512, Level = LogLevel.Error, Message = "The sandbox record in {Folder} is unreadable ({Reason}); it is kept in {Quarantine}")]
    private static partial void Unreadable(ILogger logger, string folder, string reason, string quarantine);
}
