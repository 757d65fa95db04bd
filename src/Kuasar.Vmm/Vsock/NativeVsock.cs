using System.Net.Sockets;
using Kuasar.Linux;

namespace Kuasar.Vmm.Vsock;

/// <summary>Dials by AF_VSOCK, which .NET does not know: the socket is made and connected here, and used by .NET from then on.</summary>
internal static class NativeVsock
{
    /// <summary>How often a dial looks whether it is still wanted.</summary>
    private static readonly TimeSpan s_slice = TimeSpan.FromMilliseconds(50);

    internal static async ValueTask<VsockStream> ConnectAsync(VsockEndPoint endPoint, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var socket = Libc.OpenVsock();
        try
        {
            if (!Libc.TryConnectVsock(socket, endPoint.ContextId, endPoint.Port, out var error) && error == Libc.EINPROGRESS)
            {
                error = await Task.Run(() => Wait(socket, cancellationToken), CancellationToken.None).ConfigureAwait(false);
            }
            if (error != 0)
            {
                throw Failed(endPoint, error);
            }
            Libc.SetBlocking(socket);
            return new VsockStream(new Socket(socket), endPoint);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static int Wait(SafeSocketHandle socket, CancellationToken cancellationToken)
    {
        while (!Libc.WaitWritable(socket, s_slice))
        {
            cancellationToken.ThrowIfCancellationRequested();
        }
        return Libc.TakeSocketError(socket);
    }

    private static VsockException Failed(VsockEndPoint endPoint, int error)
    {
        var cause = new LinuxException($"connect {endPoint}", error);
        // The kernel gives up after 2 s where no device answers for the CID.
        var reason = error switch
        {
            Libc.ECONNRESET or Libc.ECONNREFUSED => VsockFailure.Refused,
            Libc.ETIMEDOUT => VsockFailure.TimedOut,
            Libc.ENODEV or Libc.EHOSTUNREACH or Libc.ENETUNREACH => VsockFailure.NotReady,
            _ => VsockFailure.System,
        };
        return new VsockException(reason, cause.Message, cause);
    }
}
