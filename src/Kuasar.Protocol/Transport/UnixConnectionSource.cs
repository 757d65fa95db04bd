using System.Net.Sockets;
using Kuasar.Protocol.Transport;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Protocol;

/// <summary>A listening unix socket. Dispose it after the server: that closes the socket and removes its file.</summary>
public sealed class UnixConnectionSource : IConnectionSource
{
    private readonly Socket _socket;
    private readonly UnixSocketOptions _options;
    private readonly ILogger _log;
    private readonly FileIdentity? _file;
    private readonly string? _path;
    private int _disposed;

    private UnixConnectionSource(Socket socket, string address, string? path, UnixSocketOptions options)
    {
        _socket = socket;
        _options = options;
        _path = path;
        _file = path is null ? null : Libc.Identify(path);
        _log = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger<UnixConnectionSource>();
        Address = address;
    }

    /// <summary>The path, or <c>@name</c>; <see cref="Connection.LocalAddress"/> of the connections.</summary>
    public string Address { get; }

    /// <summary>Binds and listens.</summary>
    /// <param name="address">
    /// As for <see cref="TtrpcClient.ConnectAsync"/>. Missing folders are made; a socket file that nobody answers on is
    /// replaced; any other file is left alone.
    /// </param>
    /// <param name="options">Null is all defaults: mode 0600, same user only.</param>
    /// <returns>The listening source; the caller disposes it.</returns>
    /// <exception cref="SocketException">Somebody listens there already (AddressAlreadyInUse), or the system refuses.</exception>
    /// <exception cref="ArgumentException">No unix socket address, or longer than 107 bytes.</exception>
    /// <exception cref="IOException">The folder or the stale file cannot be written; or UnauthorizedAccessException.</exception>
    public static UnixConnectionSource Bind(string address, UnixSocketOptions? options = null)
    {
        if (OperatingSystem.IsWindows())
        {
            throw new PlatformNotSupportedException("File modes and peer credentials are Linux's.");
        }
        options ??= new UnixSocketOptions();
        var endPoint = UnixAddress.Parse(address);
        var shown = UnixAddress.Show(address);
        var path = endPoint.ToString() is ['@', ..] ? null : Path.GetFullPath(shown);
        if (path is not null)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!, options.FolderMode);
            RemoveStale(path, endPoint);
        }
        var socket = UnixSocket.Bind(endPoint);
        try
        {
            if (path is not null)
            {
                // Nobody can connect before Listen, so there is no moment with a wider mode.
                File.SetUnixFileMode(path, options.FileMode);
            }
            socket.Listen(options.Backlog);
            return new UnixConnectionSource(socket, shown, path, options);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    /// <remarks>Refused peers and failures of accept are logged and skipped. Null after <see cref="DisposeAsync"/>.</remarks>
    public async ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _socket.AcceptAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (Exception) when (Volatile.Read(ref _disposed) != 0)
            {
                return null;
            }
            catch (SocketException error)
            {
                // EMFILE, ENFILE, ENOMEM, ECONNABORTED: they pass, and a server that stops accepting does not come back.
                TransportLog.AcceptFailed(_log, error, Address, error.SocketErrorCode);
                await Task.Delay(_options.RetryDelay, _options.TimeProvider, cancellationToken).ConfigureAwait(false);
                continue;
            }
            if (Admit(socket) is { } connection)
            {
                return connection;
            }
            socket.Dispose();
        }
    }

    /// <summary>Stops listening and removes the socket file if it is still ours. Accepted connections live on.</summary>
    public ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            if (_path is not null && _file is { } file && Libc.Identify(_path) == file)
            {
                File.Delete(_path);
            }
            _socket.Dispose();
        }
        return default;
    }

    private Connection? Admit(Socket socket)
    {
        try
        {
            var peer = PeerCredentials.Of(socket)!.Value;
            if (_options.PeerPolicy.Allows(peer))
            {
                return Connection.FromSocket(socket, Address);
            }
            TransportLog.PeerRefused(_log, Address, peer.ProcessId, peer.UserId, peer.GroupId);
        }
        catch (Exception error) // the kernel's or the policy's: nobody is let in by an error
        {
            TransportLog.PeerUnknown(_log, error, Address);
        }
        return null;
    }

    private static void RemoveStale(string path, UnixDomainSocketEndPoint endPoint)
    {
        // A regular file refuses connections just as a dead socket does; only the latter may go.
        if (Libc.Identify(path) is not { IsSocket: true })
        {
            return;
        }
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        probe.Blocking = false; // a listener with a full backlog answers too: it is alive
        try
        {
            probe.Connect(endPoint);
        }
        catch (SocketException error) when (error.SocketErrorCode == SocketError.ConnectionRefused)
        {
            File.Delete(path);
        }
        catch (SocketException)
        {
            // Alive or not ours to judge: bind will say "address in use".
        }
    }
}
