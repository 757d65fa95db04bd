namespace Kuasar.Sandbox.Tasks;

/// <summary>
/// The sandboxes that tasks imply: made at the first container of a pod, ended with the last, whichever that is. A pause container that
/// is deleted before its workload takes nothing with it.
/// </summary>
internal sealed class SandboxTable(Sandboxer sandboxer)
{
    private readonly Dictionary<TaskKey, Entry> _entries = [];
    private readonly Dictionary<TaskKey, Task> _ending = [];

    /// <summary>The pod's sandbox, counted once for the caller, who releases it.</summary>
    internal async Task<Lease> AcquireAsync(TaskKey key)
    {
        Entry? entry;
        lock (_entries)
        {
            if (!_entries.TryGetValue(key, out entry))
            {
                var previous = _ending.GetValueOrDefault(key, Task.CompletedTask);
                _entries.Add(key, entry = new Entry(new Lazy<Task<Sandbox>>(() => CreateAsync(key, previous))));
            }
            entry.Users++;
        }
        var lease = new Lease(this, key, entry);
        try
        {
            lease.Sandbox = await entry.Sandbox.Value.ConfigureAwait(false);
            return lease;
        }
        catch
        {
            await lease.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task<Sandbox> CreateAsync(TaskKey key, Task previous)
    {
        // An author has one sandbox of a name at a time.
        await previous.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return await sandboxer.CreateSandboxAsync(
            new SandboxSpec { Instance = key.Instance, Namespace = key.Namespace, Id = key.Id }, CancellationToken.None).ConfigureAwait(false);
    }

    private async ValueTask ReleaseAsync(TaskKey key, Entry entry)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_entries)
        {
            if (--entry.Users > 0)
            {
                return;
            }
            _entries.Remove(key);
            _ending[key] = ended.Task;
        }
        try
        {
            if (entry.Sandbox.Value.IsCompletedSuccessfully)
            {
                await entry.Sandbox.Value.Result.DisposeAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            lock (_entries)
            {
                if (_ending.GetValueOrDefault(key) == ended.Task)
                {
                    _ending.Remove(key);
                }
            }
            ended.SetResult();
        }
    }

    internal sealed class Entry(Lazy<Task<Sandbox>> sandbox)
    {
        internal Lazy<Task<Sandbox>> Sandbox => sandbox;

        internal int Users { get; set; }
    }

    internal sealed class Lease(SandboxTable table, TaskKey key, Entry entry) : IAsyncDisposable
    {
        private int _released;

        internal Sandbox Sandbox { get; set; } = null!;

        public ValueTask DisposeAsync() =>
            Interlocked.Exchange(ref _released, 1) == 0 ? table.ReleaseAsync(key, entry) : ValueTask.CompletedTask;
    }
}
