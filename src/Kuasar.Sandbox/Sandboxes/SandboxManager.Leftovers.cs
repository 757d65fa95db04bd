using Kuasar.Domain;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Sandboxes;

internal sealed partial class SandboxManager
{
    /// <summary>
    /// Finishes those that a shim ended while the sandboxer was down, those whose bundle containerd has removed, and those whose start was not
    /// answered. The others are
    /// containerd's to ask for.
    /// </summary>
    internal async Task FinishAbandonedAsync()
    {
        foreach (var folder in _leftovers.Folders())
        {
            try
            {
                if (_leftovers.Read(folder) is not { } record || IsAbandoned(record))
                {
                    await WhileFreeAsync(TaskKey.OfFolder(folder), () => FinishAbandonedAsync(folder)).ConfigureAwait(false);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
            {
                NotFinished(_context.Logger, e, folder);
            }
        }
    }

    /// <summary>The caller has the id to itself: what was read before may be of another sandbox by now.</summary>
    private async Task FinishAbandonedAsync(string folder)
    {
        if (_leftovers.Read(folder) is not { } record)
        {
            // One that was made and never recorded holds nothing; if it is not empty, it is for a person to look at.
            Linux.Libc.TryRemoveFolder(folder);
        }
        else if (IsAbandoned(record))
        {
            await _leftovers.RemoveAsync(folder, record).ConfigureAwait(false);
        }
    }

    private static bool IsAbandoned(SandboxRecord record) =>
        record.Removed || record.State == SandboxRecord.Types.State.Starting || (record.Bundle.Length > 0 && !Directory.Exists(record.Bundle));

    /// <summary>
    /// Removes those that tasks implied and that none of them has come back to: they went while the sandboxer did. Once the tasks of an
    /// earlier life have been taken over.
    /// </summary>
    internal async Task FinishDesertedAsync()
    {
        List<ManagedSandbox> deserted;
        lock (_lock)
        {
            deserted = [.. _sandboxes.Values.Where(sandbox => sandbox.TryDesert())];
        }
        foreach (var sandbox in deserted)
        {
            await sandbox.RemoveAsync().ConfigureAwait(false);
        }
    }

    private async Task<int> RemoveLeftoversAsync(TaskKey key, string containerdAddress)
    {
        var pid = 0;
        var folder = _paths.SandboxFolder(containerdAddress, key.Namespace, key.Id);
        await WhileFreeAsync(key, async () => pid = await _leftovers.RemoveAsync(folder).ConfigureAwait(false)).ConfigureAwait(false);
        return pid;
    }

    /// <summary>Clears an id that no sandbox has; nothing is done when one has it, or when somebody else clears it.</summary>
    private async Task WhileFreeAsync(TaskKey key, Func<Task> action)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task? other;
        lock (_lock)
        {
            if (_sandboxes.ContainsKey(key))
            {
                return;
            }
            if (!_clearing.TryGetValue(key, out other))
            {
                _clearing.Add(key, done.Task);
            }
        }
        if (other is not null)
        {
            await other.ConfigureAwait(false);
            return;
        }
        try
        {
            await action().ConfigureAwait(false);
        }
        finally
        {
            lock (_lock)
            {
                _clearing.Remove(key);
            }
            done.SetResult();
        }
    }

    [LoggerMessage(EventId = 513, Level = LogLevel.Error, Message = "What is left of the sandbox in {Folder} could not be removed")]
    private static partial void NotFinished(ILogger logger, Exception e, string folder);
}
