using System.Collections.Concurrent;
using Kuasar.Sandbox.Stdio;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>Handles of which the keeper has a copy, so that they live longer than this process. Thread-safe.</summary>
internal sealed class KeeperHandleStore(KeeperSession session) : IHandleStore, IDisposable
{
    private readonly HandleStore _own = new();
    private readonly ConcurrentDictionary<string, bool> _unclaimed = new(StringComparer.Ordinal);

    public void Keep(string name, SafeFileHandle handle)
    {
        _own.Keep(name, handle);
        session.Send(writer => writer.Begin(PacketKind.Store).Text(name), handle);
    }

    public SafeFileHandle? TryFind(string name)
    {
        _unclaimed.TryRemove(name, out _);
        return _own.TryFind(name);
    }

    public void Forget(string name)
    {
        _own.Forget(name);
        session.Send(writer => writer.Begin(PacketKind.Drop).Text(name));
    }

    /// <summary>What an earlier sandboxer kept. Before our turn comes.</summary>
    internal void Restore(string name, SafeFileHandle handle)
    {
        _unclaimed[name] = true;
        _own.Keep(name, handle);
    }

    /// <summary>What nobody has found when all is taken over belongs to nothing that is known.</summary>
    internal void ForgetUnclaimed()
    {
        foreach (var name in _unclaimed.Keys)
        {
            Forget(name);
        }
        _unclaimed.Clear();
    }

    public void Dispose() => _own.Dispose();
}
