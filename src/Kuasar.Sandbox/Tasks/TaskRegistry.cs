using System.Collections.Concurrent;

namespace Kuasar.Sandbox.Tasks;

/// <summary>All tasks of a sandboxer. An id is taken from the first moment of its creation to the last of its removal.</summary>
internal sealed class TaskRegistry
{
    private readonly ConcurrentDictionary<TaskKey, Slot> _slots = new();

    /// <summary>How many ids are taken.</summary>
    internal int Count => _slots.Count;

    internal IEnumerable<ContainerTask> Tasks =>
        _slots.Values.Where(s => s.Task.IsCompletedSuccessfully).Select(s => s.Task.Result).OfType<ContainerTask>();

    /// <summary>Takes the id, makes the task, and frees the id again if that fails.</summary>
    /// <exception cref="SandboxException">AlreadyExists.</exception>
    internal async Task<ContainerTask> AddAsync(TaskKey key, Func<Task<ContainerTask>> create)
    {
        Slot slot;
        while (!TryTake(key, SlotUse.Creation, out slot))
        {
            if (slot.Use == SlotUse.Creation || (slot.Task.IsCompleted && slot.Task.Result is not null))
            {
                throw new SandboxException(SandboxError.AlreadyExists, $"task {key} exists already");
            }
            await slot.Task.ConfigureAwait(false);
        }
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

    /// <summary>Clears an id that no task has; false, and nothing done, when one has it.</summary>
    internal async Task<bool> WhileFreeAsync(TaskKey key, Func<Task> action)
    {
        if (!TryTake(key, SlotUse.Clearing, out var slot))
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

    /// <summary>
    /// Takes the id for a task of an earlier life; whoever asks for it waits until the action that is returned has been run, with what makes
    /// the task or null. Null when the id is taken.
    /// </summary>
    internal Func<Func<Task<ContainerTask?>>, Task>? TryReserve(TaskKey key)
    {
        if (!TryTake(key, SlotUse.Recovery, out var slot))
        {
            return null;
        }
        return async adopt =>
        {
            ContainerTask? task = null;
            try
            {
                task = await adopt().ConfigureAwait(false);
            }
            finally
            {
                if (task is null)
                {
                    Free(key, slot);
                }
                else
                {
                    slot.SetResult(task);
                }
            }
        };
    }

    /// <summary>The task, waiting for one that is being taken over; null when there is none or it is still being made.</summary>
    internal ValueTask<ContainerTask?> FindAsync(TaskKey key) =>
        !_slots.TryGetValue(key, out var slot) ? default
        : slot.Task.IsCompletedSuccessfully ? new(slot.Task.Result)
        : slot.Use == SlotUse.Recovery ? new(slot.Task) : default;

    /// <summary>The task, waiting for one that is still being made; null when there is none.</summary>
    internal async Task<ContainerTask?> FindSettledAsync(TaskKey key) =>
        _slots.TryGetValue(key, out var slot) ? await slot.Task.ConfigureAwait(false) : null;

    internal void Remove(ContainerTask task)
    {
        if (_slots.TryGetValue(task.Key, out var slot) && slot.Task.IsCompletedSuccessfully && slot.Task.Result == task)
        {
            _slots.TryRemove(new(task.Key, slot));
        }
    }

    /// <summary>True with a slot of the caller's; false with the one that is in its place.</summary>
    private bool TryTake(TaskKey key, SlotUse use, out Slot slot)
    {
        var mine = new Slot(use);
        slot = _slots.GetOrAdd(key, mine);
        return slot == mine;
    }

    private void Free(TaskKey key, Slot slot)
    {
        _slots.TryRemove(new(key, slot));
        slot.SetResult(null);
    }

    private enum SlotUse
    {
        Creation,

        /// <summary>Taken only until what an earlier life left under the id is gone: whoever wants the id waits.</summary>
        Clearing,

        /// <summary>The task of an earlier life is being taken over: whoever wants the id or the task waits.</summary>
        Recovery,
    }

    private sealed class Slot(SlotUse use) : TaskCompletionSource<ContainerTask?>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        internal SlotUse Use => use;
    }
}
