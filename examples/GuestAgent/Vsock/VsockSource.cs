using System.Net.Sockets;
using System.Threading.Channels;
using Kuasar.Linux;
using Kuasar.Protocol;
using Microsoft.Win32.SafeHandles;

namespace GuestAgent.Vsock;

/// <summary>Connections to a port of this guest's, from whoever may reach it: the host. Accepted by a thread, as .NET has no way to wait for them.</summary>
internal sealed class VsockSource : IConnectionSource
{
    private readonly SafeFileHandle _listener;
    private readonly SafeFileHandle _stopRead;
    private readonly SafeFileHandle _stopWrite;
    private readonly Channel<Connection> _accepted = Channel.CreateBounded<Connection>(128);
    private readonly Thread _thread;

    /// <summary>Listens when this returns.</summary>
    internal VsockSource(uint port)
    {
        _listener = Libc.ListenVsock(port);
        (_stopRead, _stopWrite) = Libc.Pipe();
        _thread = new Thread(Accept, 256 * 1024) { IsBackground = true, Name = "vsock-accept" };
        _thread.Start();
    }

    public async ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken) =>
        await _accepted.Reader.WaitToReadAsync(cancellationToken) && _accepted.Reader.TryRead(out var connection) ? connection : null;

    private void Accept()
    {
        while (true)
        {
            Libc.WaitEither(_listener, _stopRead);
            if (_stopWrite.IsClosed)
            {
                _accepted.Writer.TryComplete();
                return;
            }
            if (Libc.TryAccept(_listener) is not { } fd)
            {
                continue;
            }
            var connection = Connection.FromStream(new VsockStream(new Socket(new SafeSocketHandle(fd, ownsHandle: true))), "vsock");
            if (!_accepted.Writer.TryWrite(connection))
            {
                // Nobody takes them any more, or so many wait that the host cannot mean it.
                connection.Abort();
            }
        }
    }

    public ValueTask DisposeAsync()
    {
        _stopWrite.Dispose();
        _thread.Join();
        _listener.Dispose();
        _stopRead.Dispose();
        return default;
    }
}
