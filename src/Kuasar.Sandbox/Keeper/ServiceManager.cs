using System.Globalization;
using System.Text;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>
/// systemd, where it runs the keeper: is told when there is somebody who serves, and keeps copies of fds over the keeper's own death
/// (sd_notify(3), <c>FDSTORE=1</c>; <c>FileDescriptorStoreMax=</c> in the unit). Nothing here ever fails or waits: without it, less survives.
/// </summary>
internal sealed class ServiceManager : IDisposable
{
    internal const string SocketVariable = "NOTIFY_SOCKET", ProcessVariable = "LISTEN_PID", CountVariable = "LISTEN_FDS", NamesVariable = "LISTEN_FDNAMES";

    private const int FirstFd = 3, MaxName = 255;

    private readonly SafeFileHandle _socket;

    private ServiceManager(string address, SafeFileHandle socket) => (Address, _socket) = (address, socket);

    /// <summary>As systemd gave it.</summary>
    internal string Address { get; }

    /// <summary>Null where no service manager listens.</summary>
    internal static ServiceManager? TryOpen() =>
        Environment.GetEnvironmentVariable(SocketVariable) is { Length: > 0 } address && Libc.TryConnectDatagram(address) is { } socket
            ? new ServiceManager(address, socket)
            : null;

    /// <summary>What was stored by a keeper that has died, by name; the caller's.</summary>
    internal static List<(string Name, SafeFileHandle Handle)> TakeStored()
    {
        var result = new List<(string, SafeFileHandle)>();
        if (KeeperEnvironment.Take(ProcessVariable) != Environment.ProcessId.ToString(CultureInfo.InvariantCulture)
            || !int.TryParse(KeeperEnvironment.Take(CountVariable), NumberStyles.None, CultureInfo.InvariantCulture, out var count))
        {
            return result;
        }
        var names = (KeeperEnvironment.Take(NamesVariable) ?? "").Split(':');
        for (var i = 0; i < count; i++)
        {
            result.Add((i < names.Length ? names[i] : "", new SafeFileHandle(FirstFd + i, ownsHandle: true)));
        }
        return result;
    }

    internal void Ready() => Send("READY=1", null);

    /// <summary>Also when the other end of a fifo is gone: systemd would let go of it (FDPOLL).</summary>
    internal void Store(string name, SafeFileHandle handle)
    {
        if (name.Length <= MaxName && !name.Contains(':', StringComparison.Ordinal))
        {
            Send($"FDSTORE=1\nFDPOLL=0\nFDNAME={name}", handle);
        }
    }

    internal void Remove(string name) => Send($"FDSTOREREMOVE=1\nFDNAME={name}", null);

    private void Send(string text, SafeFileHandle? handle) => Libc.SendPacket(_socket, Encoding.UTF8.GetBytes(text), handle, wait: false);

    public void Dispose() => _socket.Dispose();
}
