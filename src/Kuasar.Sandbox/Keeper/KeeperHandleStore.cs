using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.InteropServices;
using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>Handles of which the keeper has a copy, so that they live longer than this process. Thread-safe.</summary>
internal sealed class KeeperHandleStore(KeeperSession session) : IHandleStore, IDisposable
{
    /// <summary>The names of connections that must not break off with this process.</summary>
    private const string HeldPrefix = "held/";

    private readonly HandleStore _own = new();
    private readonly ConcurrentDictionary<string, bool> _unclaimed = new(StringComparer.Ordinal);
    private int _lastHeld;

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

    /// <summary>As <see cref="SandboxerServices.HoldConnection"/>.</summary>
    internal IDisposable Hold(SafeHandle socket)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"{HeldPrefix}{Environment.ProcessId}.{Interlocked.Increment(ref _lastHeld)}");
        using var borrowed = new SafeFileHandle(socket.DangerousGetHandle(), ownsHandle: false);
        session.Send(writer => writer.Begin(PacketKind.Store).Text(name), borrowed);
        return new Held(session, name);
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
            if (name.StartsWith(HeldPrefix, StringComparison.Ordinal) && _own.TryFind(name) is { } socket)
            {
                // Or its other end would read an error, not an end.
                Libc.ReadAway(socket);
            }
            Forget(name);
        }
        _unclaimed.Clear();
    }

    public void Dispose() => _own.Dispose();

    private sealed class Held(KeeperSession session, string name) : IDisposable
    {
        public void Dispose() => session.Send(writer => writer.Begin(PacketKind.Drop).Text(name));
    }
}
