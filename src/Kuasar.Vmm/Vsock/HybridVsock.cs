using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Kuasar.Linux;

namespace Kuasar.Vmm.Vsock;

/// <summary>Dials a guest through its hypervisor's unix socket.</summary>
/// <remarks>
/// <code>
///   host       CONNECT 1024\n
///   hypervisor                OK 1073741824\n      the number is the host's port, and means nothing
///   both       the guest's bytes
/// </code>
/// Nothing is sent before OK: vhost-device-vsock drops what follows CONNECT in the same packet. Nothing is read past the line: the rest is
/// the guest's. A connection is not closed before its answer: where the guest's comes to a host that has gone, vhost-device-vsock panics in the
/// thread that serves all connections, and a connection without CONNECT keeps that thread busy for ever.
/// </remarks>
internal static class HybridVsock
{
    private const int MaxReply = 32;
    private static readonly TimeSpan s_backlogPause = TimeSpan.FromMilliseconds(2);

    internal static async ValueTask<VsockStream> ConnectAsync(VsockEndPoint endPoint, Func<SafeHandle, IDisposable?>? hold, CancellationToken cancellationToken)
    {
        var (socket, held) = await OpenAsync(endPoint, hold, cancellationToken).ConfigureAwait(false);
        var stream = new VsockStream(socket, endPoint);
        try
        {
            // There is room in a fresh socket.
            stream.Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"CONNECT {endPoint.Port}\n")));
            await ReadReplyAsync(stream, endPoint, cancellationToken).ConfigureAwait(false);
            return stream;
        }
        catch (OperationCanceledException)
        {
            (var abandoned, held) = (held, null);
            _ = AbandonAsync(stream, abandoned, endPoint);
            throw;
        }
        catch (VsockException error) when (error.Reason == VsockFailure.Lost)
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            // The daemon resets what it cannot give to a driver.
            throw new VsockException(VsockFailure.NotReady, $"{endPoint}: the guest's vsock is not up ({error.Message})", error);
        }
        catch
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            throw;
        }
        finally
        {
            held?.Dispose();
        }
    }

    /// <summary>Closes a dial that nobody waits for any more once it is answered; the end of its hypervisor is an answer as well.</summary>
    private static async Task AbandonAsync(VsockStream stream, IDisposable? held, VsockEndPoint endPoint)
    {
        using (held)
        await using (stream.ConfigureAwait(false))
        {
            try
            {
                await ReadReplyAsync(stream, endPoint, CancellationToken.None).ConfigureAwait(false);
            }
            catch (VsockException)
            {
                // Lost, refused, or the rest of a line whose beginning was read before.
            }
        }
    }

    private static async ValueTask<(Socket Socket, IDisposable? Held)> OpenAsync(
        VsockEndPoint endPoint, Func<SafeHandle, IDisposable?>? hold, CancellationToken cancellationToken)
    {
        var address = new UnixDomainSocketEndPoint(endPoint.Path!);
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
            IDisposable? held = null;
            var isConnected = false;
            try
            {
                // Before it is connected: from then on the daemon must not lose it.
                held = hold?.Invoke(socket.SafeHandle);
                // A unix socket connects at once or not at all. Not ConnectAsync: it would leave the socket in .NET's event loop.
                socket.Connect(address);
                isConnected = true;
                return (socket, held);
            }
            catch (SocketException error) when (error.SocketErrorCode is SocketError.WouldBlock or SocketError.TryAgain)
            {
                // The backlog is full: the hypervisor lives.
            }
            catch (SocketException error)
            {
                throw new VsockException(VsockFailure.NoHypervisor, $"{endPoint}: no hypervisor answers there ({error.Message})", error);
            }
            finally
            {
                if (!isConnected)
                {
                    socket.Dispose();
                    held?.Dispose();
                }
            }
            await Task.Delay(s_backlogPause, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async ValueTask ReadReplyAsync(VsockStream stream, VsockEndPoint endPoint, CancellationToken cancellationToken)
    {
        var reply = new byte[MaxReply];
        var length = 0;
        while (true)
        {
            var seen = await stream.ReceiveAsync(reply.AsMemory(length), Libc.MSG_PEEK, cancellationToken).ConfigureAwait(false);
            if (seen == 0)
            {
                throw length == 0
                    ? new VsockException(VsockFailure.Refused, $"{endPoint}: nobody listens there in the guest")
                    : NotHybrid(reply.AsSpan(0, length));
            }
            var end = reply.AsSpan(length, seen).IndexOf((byte)'\n');
            // All that was seen is there, so this does not wait; it may only take no more than the line.
            length += await stream.ReadAsync(
                reply.AsMemory(length, end < 0 ? seen : end + 1), cancellationToken).ConfigureAwait(false);
            if (end >= 0)
            {
                break;
            }
            if (length == MaxReply)
            {
                throw NotHybrid(reply);
            }
        }
        if (!reply.AsSpan().StartsWith("OK "u8))
        {
            throw NotHybrid(reply.AsSpan(0, length));
        }

        VsockException NotHybrid(ReadOnlySpan<byte> text) => new(
            VsockFailure.Protocol, $"{endPoint}: the answer is not OK but '{Encoding.Latin1.GetString(text).TrimEnd()}'");
    }
}
