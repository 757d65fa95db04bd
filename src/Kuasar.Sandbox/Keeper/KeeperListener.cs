using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>
/// A listening socket that outlives the sandboxers which ask for it. Relayed: its connections are accepted here. Raw: the sandboxer is given
/// the socket and accepts by itself, which suits a client that connects again (gRPC), and the backlog holds connections while there is none.
/// Used by the loop's thread alone; disposing it removes the file and closes the connections.
/// </summary>
internal sealed class KeeperListener : IDisposable
{
    private const int Backlog = 512;
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(100);

    private readonly RelayContext _context;
    private readonly HashSet<RelayedConnection> _connections = [];
    private readonly EventLoop.Registration? _registration;
    private readonly Action<KeeperListener, RelayedConnection> _accepted;
    private bool _disposed;

    /// <param name="context">What connections share.</param>
    /// <param name="path">Absolute.</param>
    /// <param name="raw">The sandboxer accepts.</param>
    /// <param name="socket">Listens already; null to bind the path.</param>
    /// <param name="accepted">Told of each new connection.</param>
    /// <exception cref="LinuxException">Somebody listens there already, or the system refuses.</exception>
    internal KeeperListener(RelayContext context, string path, bool raw, SafeFileHandle? socket, Action<KeeperListener, RelayedConnection> accepted)
    {
        (_context, Path, IsRaw, _accepted) = (context, path, raw, accepted);
        if (socket is null)
        {
            Libc.CreateFolders(System.IO.Path.GetDirectoryName(path)!, DomainPaths.FolderMode);
        }
        Socket = socket ?? Libc.ListenUnix(path, DomainPaths.FileMode, Backlog);
        _registration = raw ? null : context.Loop.Register(Socket, EventLoop.In, _ => Accept());
    }

    internal string Path { get; }

    internal bool IsRaw { get; }

    internal SafeFileHandle Socket { get; }

    /// <summary>The sandboxer that is there has asked for it.</summary>
    internal bool IsClaimed { get; set; }

    /// <summary>The sandboxer is on its way out: that it closes a connection says nothing.</summary>
    internal bool ServerIsLeaving { get; set; }

    internal IReadOnlyCollection<RelayedConnection> Connections => _connections;

    internal void Add(RelayedConnection connection) => _connections.Add(connection);

    internal void Remove(RelayedConnection connection) => _connections.Remove(connection);

    private void Accept()
    {
        var client = Libc.TryAccept(Socket);
        if (client is null)
        {
            if (Libc.LastError != Libc.EAGAIN)
            {
                // EMFILE and the like pass; until then the socket would be ready for ever.
                _registration!.Modify(0);
                _context.Timers.After(RetryDelay, () => _registration.Modify(EventLoop.In));
            }
            return;
        }
        var (pid, user, group) = Libc.PeerOf(client);
        if (user != 0 && user != Libc.EffectiveUserId)
        {
            client.Dispose();
            return;
        }
        var connection = new RelayedConnection(_context, this, client, new PeerIdentity(pid, user, group));
        _connections.Add(connection);
        _accepted(this, connection);
    }

    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }
        _disposed = true;
        _registration?.Dispose();
        foreach (var connection in _connections.ToArray())
        {
            connection.Close();
        }
        Socket.Dispose();
        // Ours: a keeper has the lock of its run directory, and a path is listened on once.
        Libc.TryRemoveFile(Path);
    }
}
