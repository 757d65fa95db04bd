using System.Net.Sockets;
using Kuasar.Linux;

namespace Kuasar.Vmm.Vsock;

/// <summary>The unix socket <c>PATH_PORT</c> at which a hypervisor hands over what its guest dials.</summary>
internal sealed class HybridVsockListener : VsockListener
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    private readonly Socket _socket;
    private readonly string _file;
    private readonly long _inode;
    private int _disposed;

    private HybridVsockListener(Socket socket, string file, VsockEndPoint endPoint) : base(endPoint)
    {
        _socket = socket;
        _file = file;
        _inode = Libc.SocketInode(file);
    }

    internal static HybridVsockListener Bind(VsockEndPoint endPoint, int backlog)
    {
        var file = endPoint.Path + "_" + endPoint.Port.ToString(System.Globalization.CultureInfo.InvariantCulture);
        var address = new UnixDomainSocketEndPoint(file);
        Socket? socket = null;
        try
        {
            RemoveStale(file, address);
            socket = Libc.BindUnix(file);
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            socket.Listen(backlog);
            return new HybridVsockListener(socket, file, endPoint);
        }
        catch (Exception error) when (error is SocketException or LinuxException)
        {
            socket?.Dispose();
            var inUse = error is LinuxException { Errno: Libc.EADDRINUSE };
            throw new VsockException(inUse ? VsockFailure.InUse : VsockFailure.System, $"{file}: {error.Message}", error);
        }
        catch
        {
            socket?.Dispose();
            throw;
        }
    }

    public override async ValueTask<VsockStream?> AcceptStreamAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return new VsockStream(await _socket.AcceptAsync(cancellationToken).ConfigureAwait(false), LocalEndPoint);
            }
            catch (Exception) when (Volatile.Read(ref _disposed) != 0)
            {
                return null;
            }
            catch (SocketException)
            {
                // EMFILE, ENOMEM, ECONNABORTED: they pass.
                await Task.Delay(s_pause, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    public override ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            if (Libc.SocketInode(_file) == _inode)
            {
                Libc.TryRemoveFile(_file);
            }
            _socket.Dispose();
        }
        return default;
    }

    /// <summary>Of a manager that has died. What answers is alive, and bind will say so.</summary>
    private static void RemoveStale(string file, UnixDomainSocketEndPoint address)
    {
        if (Libc.SocketInode(file) == 0)
        {
            return;
        }
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            probe.Connect(address);
        }
        catch (SocketException error) when (error.SocketErrorCode == SocketError.ConnectionRefused)
        {
            Libc.TryRemoveFile(file);
        }
        catch (SocketException)
        {
        }
    }
}
