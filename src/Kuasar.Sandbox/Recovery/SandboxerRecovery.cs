using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Recovery;

/// <summary>
/// Takes over what an earlier life of the sandboxer has left, several at a time. Its ids are taken before anybody is served, and its
/// sandboxes are there; a call for a task that is not there yet waits for it, and no other call waits. What cannot be taken over is not
/// touched: containerd, which is told that there is no such id, asks for its removal.
/// </summary>
internal sealed partial class SandboxerRecovery(
    DomainPaths paths,
    SandboxManager sandboxes,
    SandboxLeftovers sandboxLeftovers,
    TaskRegistry registry,
    Leftovers taskLeftovers,
    HostProcesses processes,
    TimeProvider time,
    ILogger logger)
{
    private const int AtOnce = 16;

    /// <summary>Serving does not wait for an author longer than that.</summary>
    private static readonly TimeSpan SandboxLimit = TimeSpan.FromSeconds(5);

    /// <summary>As long may the author of one task keep those waiting who ask for it, and a runtime's call that was under way.</summary>
    private static readonly TimeSpan TaskLimit = TimeSpan.FromSeconds(30);

    private readonly TaskCompletionSource _tasksAreThere = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<(string Folder, TaskRecord Record, Func<Func<Task<ContainerTask?>>, Task> Finish)> _tasks = [];
    private UnfinishedCalls? _calls;

    /// <summary>Takes the ids of all that is to be taken over, and the sandboxes themselves. Before anybody is served.</summary>
    internal async Task BeginAsync()
    {
        _calls = new UnfinishedCalls(paths.Tasks, TaskLimit, time, logger);
        foreach (var folder in DomainPaths.IdFolders(paths.Tasks))
        {
            RecordFile.RemoveTemporaries(TaskRecordFile.PathIn(folder));
            if (Read(folder, taskLeftovers.Read) is { } record && (IsTaken(record) || IsHalfMade(record))
                && registry.TryReserve(KeyOf(record)) is { } finish)
            {
                _tasks.Add((folder, record, finish));
            }
        }
        var folders = sandboxLeftovers.Folders();
        folders.ForEach(folder => RecordFile.RemoveTemporaries(SandboxRecordFile.PathIn(folder)));
        var records = folders.Select(folder => Read(folder, sandboxLeftovers.Read)).OfType<SandboxRecord>().Where(IsTaken).ToList();
        var all = Parallel.ForEachAsync(records, Bounded, async (record, _) => await TakeSandboxAsync(record).ConfigureAwait(false));
        await all.EndsWithinAsync(SandboxLimit, time).ConfigureAwait(false);
    }

    /// <summary>Takes over the tasks; those who are asked for wait for this.</summary>
    /// <param name="contexts">By the short name of the containerd: those that have an endpoint.</param>
    internal async Task FinishAsync(Dictionary<string, TaskContext> contexts)
    {
        var all = Parallel.ForEachAsync(_tasks, Bounded, async (task, _) =>
            await task.Finish(() => TakeTaskAsync(task.Folder, task.Record, contexts)).ConfigureAwait(false));
        await all.ConfigureAwait(false);
        _tasksAreThere.SetResult();
        await sandboxes.FinishDesertedAsync().ConfigureAwait(false);
    }

    private async Task<ContainerTask?> TakeTaskAsync(string folder, TaskRecord record, Dictionary<string, TaskContext> contexts)
    {
        try
        {
            await _calls!.EndAsync(folder, record.Runtime).ConfigureAwait(false);
            if (IsHalfMade(record))
            {
                await taskLeftovers.RemoveAsync(folder).ConfigureAwait(false);
                return null;
            }
            var context = contexts.GetValueOrDefault(KeyOf(record).Instance)
                ?? throw new InvalidDataException("nothing says which containerd it is of");
            var adoption = new TaskAdoption(context, processes, folder, record);
            return await adoption.AdoptAsync().WaitAsync(TaskLimit, time).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // whatever it is, the others must not be lost to it
        catch (Exception e)
#pragma warning restore CA1031
        {
            TaskNotTaken(logger, e, KeyOf(record));
            return null;
        }
    }

    private async Task TakeSandboxAsync(SandboxRecord record)
    {
        try
        {
            await sandboxes.RecoverAsync(record, _tasksAreThere.Task).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // whatever it is, the others must not be lost to it
        catch (Exception e)
#pragma warning restore CA1031
        {
            SandboxNotTaken(logger, e, record.Namespace, record.Id);
        }
    }

    private T? Read<T>(string folder, Func<string, T?> read) where T : class
    {
        try
        {
            return read(folder);
        }
        catch (IOException e)
        {
            NotRead(logger, e, folder);
            return null;
        }
    }

    private static TaskKey KeyOf(TaskRecord record) => new(DomainPaths.InstanceKey(record.ContainerdAddress), record.Namespace, record.Id);

    private static ParallelOptions Bounded => new() { MaxDegreeOfParallelism = AtOnce };

    /// <summary>Nobody was answered for it; it is undone.</summary>
    private static bool IsHalfMade(TaskRecord record) => record is { Removed: false, Schema: > 0, State: TaskRecord.Types.State.Creating };

    /// <summary>
    /// Not when a shim's <c>delete</c> has ended it, containerd has removed its bundle, it is half-made, or of a version that could not be taken
    /// over.
    /// </summary>
    private static bool IsTaken(TaskRecord record) =>
        record is { Removed: false, Schema: > 0, State: not TaskRecord.Types.State.Creating } && Directory.Exists(record.Bundle);

    private static bool IsTaken(SandboxRecord record) =>
        record is { Removed: false, Schema: > 0, State: not SandboxRecord.Types.State.Starting } &&
        (record.Bundle.Length == 0 || Directory.Exists(record.Bundle));

    [LoggerMessage(EventId = 520, Level = LogLevel.Error, Message = "Task {Key} of an earlier life could not be taken over; it is left as it is")]
    private static partial void TaskNotTaken(ILogger logger, Exception e, TaskKey key);

    [LoggerMessage(EventId = 521, Level = LogLevel.Error, Message = "Sandbox {Namespace}/{Id} of an earlier life could not be taken over; it is left as it is")]
    private static partial void SandboxNotTaken(ILogger logger, Exception e, string @namespace, string id);

    [LoggerMessage(EventId = 522, Level = LogLevel.Error, Message = "The record in {Folder} could not be read")]
    private static partial void NotRead(ILogger logger, Exception e, string folder);
}
