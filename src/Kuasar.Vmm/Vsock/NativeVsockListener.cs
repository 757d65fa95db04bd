using System.Net.Sockets;
using System.Threading.Channels;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Vsock;

/// <summary>Listens by AF_VSOCK. A thread of its own waits, as .NET's accept refuses a socket of this family.</summary>
internal sealed class NativeVsockListener : VsockListener
{
    private const int MaxWaiting = 16;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    private readonly SafeSocketHandle _socket;
    private readonly SafeFileHandle _stopRead;
    private readonly SafeFileHandle _stopWrite;
    private readonly Channel<VsockStream> _accepted = Channel.CreateBounded<VsockStream>(MaxWaiting);
    private readonly Thread _thread;
    private int _disposed;

    private NativeVsockListener(SafeSocketHandle socket, VsockEndPoint endPoint) : base(endPoint)
    {
        _socket = socket;
        (_stopRead, _stopWrite) = Libc.Pipe();
        _thread = new Thread(Run) { IsBackground = true, Name = "vsock accept" };
        _thread.UnsafeStart();
    }

    internal static NativeVsockListener Bind(VsockEndPoint endPoint, int backlog)
    {
        SafeSocketHandle? socket = null;
        try
        {
            socket = Libc.OpenVsock();
            var port = Libc.ListenVsock(socket, endPoint.ContextId, endPoint.Port, backlog);
            return new NativeVsockListener(socket, endPoint.WithPort(port));
        }
        catch (LinuxException error)
        {
            socket?.Dispose();
            throw new VsockException(
                error.Errno == Libc.EADDRINUSE ? VsockFailure.InUse : VsockFailure.System, $"{endPoint}: {error.Message}", error);
        }
        catch
        {
            socket?.Dispose();
            throw;
        }
    }

    public override async ValueTask<VsockStream?> AcceptStreamAsync(CancellationToken cancellationToken)
    {
        while (await _accepted.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (_accepted.Reader.TryRead(out var stream))
            {
                return stream;
            }
        }
        return null;
    }

    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }
        _accepted.Writer.TryComplete();
        Libc.Write(_stopWrite, "x"u8);
        await Task.Run(_thread.Join).ConfigureAwait(false);
        while (_accepted.Reader.TryRead(out var stream))
        {
            await stream.DisposeAsync().ConfigureAwait(false);
        }
        _socket.Dispose();
        _stopRead.Dispose();
        _stopWrite.Dispose();
    }

    private void Run()
    {
        while (Libc.WaitReadableOrStop(_socket, _stopRead))
        {
            var accepted = Libc.AcceptVsock(_socket, out var cid, out var port);
            if (accepted is null)
            {
                // EAGAIN, ECONNABORTED, EMFILE: they pass.
                Libc.WaitReadable(_stopRead, s_pause);
                continue;
            }
            var stream = new VsockStream(new Socket(accepted), VsockEndPoint.Native(cid, port));
            if (!Hand(stream))
            {
                stream.Dispose();
                return;
            }
        }
    }

    /// <summary>Waits while too many are waiting for their owner; false when the listener is disposed.</summary>
    private bool Hand(VsockStream stream)
    {
        while (!_accepted.Writer.TryWrite(stream))
        {
            if (!_accepted.Writer.WaitToWriteAsync().AsTask().GetAwaiter().GetResult())
            {
                return false;
            }
        }
        return true;
    }
}
