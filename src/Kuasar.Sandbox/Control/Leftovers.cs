using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Control;

/// <summary>
/// Ends tasks that an earlier life of this sandboxer left: by their records, since no object knows them any more. An unreadable record is
/// moved to quarantine and its task is left alone.
/// </summary>
internal sealed partial class Leftovers(DomainPaths paths, HostProcesses processes, TaskRegistry registry, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(2), RuntimeLimit = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Finishes those that a shim ended meanwhile, those whose bundle containerd has removed, and those that are half-made. The others are containerd's to ask for:
    /// it runs <c>delete</c> for each as soon as it sees that nobody answers for them.
    /// </summary>
    internal async Task FinishAbandonedAsync()
    {
        foreach (var folder in DomainPaths.IdFolders(paths.Tasks))
        {
            try
            {
                if (Read(folder) is not { } record || IsAbandoned(record))
                {
                    await registry.WhileFreeAsync(TaskKey.OfFolder(folder), () => FinishAbandonedAsync(folder)).ConfigureAwait(false);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
            {
                NotFinished(logger, e, folder);
            }
        }
    }

    /// <summary>The caller has the id to itself: what was read before may be of another task by now.</summary>
    private Task FinishAbandonedAsync(string folder)
    {
        if (Read(folder) is { } record)
        {
            return IsAbandoned(record) ? RemoveAsync(folder, record) : Task.CompletedTask;
        }
        // Nothing was done before there was a record. A folder that is not empty is for a person to look at.
        Libc.TryRemoveFolder(folder);
        return Task.CompletedTask;
    }

    /// <summary>Ends what is left of this one id; its pid if it was known, else 0. The caller has the id to itself.</summary>
    internal async Task<int> RemoveAsync(string folder)
    {
        if (!Directory.Exists(folder))
        {
            return 0;
        }
        if (Read(folder) is not { } record)
        {
            return 0;
        }
        await RemoveAsync(folder, record).ConfigureAwait(false);
        return record.Processes is [{ } first, ..] ? first.Pid : 0;
    }

    private async Task RemoveAsync(string folder, TaskRecord record)
    {
        List<string> problems = [];
        var ended = await Task.Run(() => ForcedRemoval.End(record, EndLimit, problems)).ConfigureAwait(false);
        if (record.Runtime.Length > 0 && !await DeleteFromRuntimeAsync(record).ConfigureAwait(false))
        {
            problems.Add($"{record.Runtime} delete failed");
        }
        if (problems.Count > 0)
        {
            Incomplete(logger, record.Namespace, record.Id, string.Join("; ", problems));
        }
        if (ended)
        {
            RecordFile.RemoveWithFolder(TaskRecordFile.PathIn(folder));
            Removed(logger, record.Namespace, record.Id);
        }
    }

    private async Task<bool> DeleteFromRuntimeAsync(TaskRecord record)
    {
        try
        {
            using var process = processes.Start(record.Runtime, ["--root", record.RuntimeRoot, "delete", "--force", record.Id]);
            var ended = await process.Exited.EndsWithinAsync(RuntimeLimit, time).ConfigureAwait(false);
            if (!ended)
            {
                process.Signal(Libc.SIGKILL);
            }
            return ended;
        }
        catch (SandboxException)
        {
            return false;
        }
    }

    /// <summary>Half-made is what nobody was answered for; of schema 0, written by a version that was not to be taken over, it means nothing.</summary>
    private static bool IsAbandoned(TaskRecord record) =>
        record.Removed || !Directory.Exists(record.Bundle) || record is { Schema: > 0, State: TaskRecord.Types.State.Creating };

    /// <summary>Null when there is none, or none that can be read, which is then put aside.</summary>
    internal TaskRecord? Read(string folder)
    {
        try
        {
            return TaskRecordFile.Read(folder);
        }
        catch (InvalidDataException e)
        {
            Unreadable(logger, folder, e.Message, TaskRecordFile.Quarantine(paths, folder));
            return null;
        }
    }

    [LoggerMessage(EventId = 500, Level = LogLevel.Information, Message = "Removed what was left of task {Namespace}/{Id}")]
    private static partial void Removed(ILogger logger, string @namespace, string id);

    [LoggerMessage(EventId = 501, Level = LogLevel.Warning, Message = "Task {Namespace}/{Id} could not be removed entirely: {Problems}")]
    private static partial void Incomplete(ILogger logger, string @namespace, string id, string problems);

    [LoggerMessage(EventId = 502, Level = LogLevel.Error, Message = "The record in {Folder} is unreadable ({Reason}); it is kept in {Quarantine}")]
    private static partial void Unreadable(ILogger logger, string folder, string reason, string quarantine);

    [LoggerMessage(EventId = 503, Level = LogLevel.Error, Message = "What is left of the task in {Folder} could not be removed")]
    private static partial void NotFinished(ILogger logger, Exception e, string folder);
}
