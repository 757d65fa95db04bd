using System.Net.Sockets;

namespace Kuasar.Protocol.Transport;

/// <summary>Unix sockets without what .NET does on the side.</summary>
internal static class UnixSocket
{
    private static readonly TimeSpan BacklogPause = TimeSpan.FromMilliseconds(2);

    /// <summary>
    /// A bound socket. A .NET socket deletes the file it has bound when it is disposed, even when another process has bound the
    /// name since; one made from the handle does not, and the file is ours to remove.
    /// </summary>
    internal static Socket Bind(UnixDomainSocketEndPoint endPoint)
    {
        var binder = Create();
        try
        {
            binder.Bind(endPoint);
        }
        catch
        {
            binder.Dispose();
            throw;
        }
        var handle = new SafeSocketHandle(binder.Handle, ownsHandle: true);
        binder.SafeHandle.SetHandleAsInvalid();
#pragma warning disable CA1816 // its finalizer would delete the file
        GC.SuppressFinalize(binder);
#pragma warning restore CA1816
        return new Socket(handle);
    }

    internal static async ValueTask<Socket> ConnectAsync(UnixDomainSocketEndPoint endPoint, CancellationToken cancellationToken)
    {
        var socket = Create();
        try
        {
            socket.Blocking = false;
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                try
                {
                    // Not ConnectAsync: it would leave the socket in .NET's event loop (see SocketConnection).
                    socket.Connect(endPoint);
                    break;
                }
                catch (SocketException error) when (error.SocketErrorCode == SocketError.WouldBlock)
                {
                    // The listener's backlog is full; it is alive. A unix socket connects at once or not at all.
                    await Task.Delay(BacklogPause, cancellationToken).ConfigureAwait(false);
                }
            }
            socket.Blocking = true;
            if (OperatingSystem.IsLinux())
            {
                // .NET only acts as if it were.
                Libc.SetBlocking(socket.SafeHandle);
            }
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static Socket Create() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
}
