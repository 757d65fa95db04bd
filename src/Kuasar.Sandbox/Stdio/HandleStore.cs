using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// Where fds are kept that must live as long as a process does: stdin writers, fifo readers, terminals. The one place that knows
/// whether they stay in this process or in a keeper's.
/// </summary>
internal interface IHandleStore
{
    /// <summary>Takes the handle over under a name of its own.</summary>
    void Keep(string name, SafeFileHandle handle);

    /// <summary>A handle that an earlier life of the sandboxer kept under this name, and that is kept on; null when there is none.</summary>
    SafeFileHandle? TryFind(string name);

    /// <summary>Closes the handle of that name, if there is one.</summary>
    void Forget(string name);
}

internal sealed class HandleStore : IHandleStore, IDisposable
{
    private readonly ConcurrentDictionary<string, SafeFileHandle> _handles = new(StringComparer.Ordinal);

    /// <summary>How many handles are kept; for tests of leaks.</summary>
    internal int Count => _handles.Count;

    public void Keep(string name, SafeFileHandle handle)
    {
        if (!_handles.TryAdd(name, handle))
        {
            throw new InvalidOperationException($"a handle named {name} is kept already");
        }
    }

    public SafeFileHandle? TryFind(string name) => _handles.GetValueOrDefault(name);

    public void Forget(string name)
    {
        if (_handles.TryRemove(name, out var handle))
        {
            handle.Dispose();
        }
    }

    public void Dispose()
    {
        foreach (var name in _handles.Keys)
        {
            Forget(name);
        }
    }
}
