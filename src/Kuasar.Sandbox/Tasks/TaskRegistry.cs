using System.Collections.Concurrent;

namespace Kuasar.Sandbox.Tasks;

/// <summary>All tasks of a sandboxer. An id is taken from the first moment of its creation to the last of its removal.</summary>
internal sealed class TaskRegistry
{
    private readonly ConcurrentDictionary<TaskKey, TaskCompletionSource<ContainerTask?>> _slots = new();

    /// <summary>How many ids are taken.</summary>
    internal int Count => _slots.Count;

    internal IEnumerable<ContainerTask> Tasks =>
        _slots.Values.Where(s => s.Task.IsCompletedSuccessfully).Select(s => s.Task.Result).OfType<ContainerTask>();

    /// <summary>Takes the id, makes the task, and frees the id again if that fails.</summary>
    /// <exception cref="SandboxException">AlreadyExists.</exception>
    internal async Task<ContainerTask> AddAsync(TaskKey key, Func<Task<ContainerTask>> create)
    {
        var slot = Take(key) ?? throw new SandboxException(SandboxError.AlreadyExists, $"task {key} exists already");
        try
        {
            var task = await create().ConfigureAwait(false);
            slot.SetResult(task);
            return task;
        }
        catch
        {
            Free(key, slot);
            throw;
        }
    }

    /// <summary>Does something with an id that no task has; false, and nothing done, when one has it.</summary>
    internal async Task<bool> WhileFreeAsync(TaskKey key, Func<Task> action)
    {
        if (Take(key) is not { } slot)
        {
            return false;
        }
        try
        {
            await action().ConfigureAwait(false);
            return true;
        }
        finally
        {
            Free(key, slot);
        }
    }

    /// <summary>The task, or null when there is none or it is still being made.</summary>
    internal ContainerTask? Find(TaskKey key) =>
        _slots.TryGetValue(key, out var slot) && slot.Task.IsCompletedSuccessfully ? slot.Task.Result : null;

    /// <summary>The task, waiting for one that is still being made; null when there is none.</summary>
    internal async Task<ContainerTask?> FindSettledAsync(TaskKey key) =>
        _slots.TryGetValue(key, out var slot) ? await slot.Task.ConfigureAwait(false) : null;

    internal void Remove(ContainerTask task) => _slots.TryRemove(task.Key, out _);

    private TaskCompletionSource<ContainerTask?>? Take(TaskKey key)
    {
        var slot = new TaskCompletionSource<ContainerTask?>(TaskCreationOptions.RunContinuationsAsynchronously);
        return _slots.TryAdd(key, slot) ? slot : null;
    }

    private void Free(TaskKey key, TaskCompletionSource<ContainerTask?> slot)
    {
        _slots.TryRemove(new(key, slot));
        slot.SetResult(null);
    }
}
