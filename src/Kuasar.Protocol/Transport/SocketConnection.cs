using System.IO.Pipelines;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Transport;

/// <summary>
/// A stream socket of Linux, used below .NET's own event loop: its descriptor stays in blocking mode, so a reader thread waits
/// in recv and needs nobody to wake it. <see cref="Transport"/> is there for others; client and server do not touch it, and go
/// through it when it was there before them: it may hold bytes, and has the descriptor in .NET's hands.
/// </summary>
internal sealed class SocketConnection : Connection
{
    /// <summary>How long a send that may wait does, before the poller takes over.</summary>
    private const int SendWaitMicroseconds = 2_000;

    /// <summary>A reader thread looks up this often when nothing comes.</summary>
    private const int ReceiveWaitMicroseconds = 200_000;

    private const int MaxVectors = 32;
    private const int SolSocket = 1;
    private const int ReceiveTimeout = 20;
    private const int SendTimeout = 21;

    private readonly Socket _socket;
    private readonly SafeSocketHandle _handle;
    private readonly PollEntry _poll;
    private readonly Lock _lock = new();
    private StreamConnection? _transport;
    private bool _sendWaitSet;
    private int _closed;

    private SocketConnection(Socket socket, PeerCredentials? peer, string? localAddress)
    {
        _socket = socket;
        _handle = socket.SafeHandle;
        _poll = new PollEntry(_handle);
        Peer = peer;
        LocalAddress = localAddress;
    }

    public override IDuplexPipe Transport
    {
        get
        {
            lock (_lock)
            {
                return _transport ??= CreateTransport();
            }
        }
    }

    public override PeerCredentials? Peer { get; }
    public override string? LocalAddress { get; }

    /// <summary>Null when it must go through .NET: not Linux, no stream socket, or in .NET's event loop already.</summary>
    internal static SocketConnection? TryCreate(Socket socket, PeerCredentials? peer, string? localAddress) =>
        OperatingSystem.IsLinux() && socket.SocketType == SocketType.Stream && !Libc.IsNonBlocking(socket.SafeHandle)
            ? new SocketConnection(socket, peer, localAddress)
            : null;

    /// <summary>The connection as a socket to use directly; null when it is none, or its <see cref="Transport"/> is in use.</summary>
    internal static SocketConnection? Direct(Connection connection) =>
        connection is SocketConnection socket && Volatile.Read(ref socket._transport) is null ? socket : null;

    /// <summary>Whether <see cref="Abort"/> or Dispose has been called.</summary>
    internal bool IsClosed => Volatile.Read(ref _closed) != 0;

    public override void Abort() => Shutdown();

    public override ValueTask DisposeAsync()
    {
        Shutdown();
        // Idempotent. It waits for calls into the kernel to return, which the shutdown has brought about.
        _socket.Dispose();
        return default;
    }

    /// <summary>Has receives that wait return after a while, with null.</summary>
    internal void LimitReceiveWait() => SetTimeout(ReceiveTimeout, ReceiveWaitMicroseconds);

    /// <summary>Bytes received; 0 at the end of the stream; null when none came. Throws when the connection is lost.</summary>
    internal unsafe int? Receive(Span<byte> buffer, bool wait)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                var count = Libc.Receive(_handle, start, (nuint)buffer.Length, wait ? 0 : Libc.MessageDontWait);
                if (count >= 0)
                {
                    return (int)count;
                }
                if (Marshal.GetLastPInvokeError() is var error && error == Libc.TryAgain)
                {
                    return null;
                }
                ThrowUnlessInterrupted(error);
            }
        }
    }

    /// <summary>Bytes sent; null when the socket takes none now. Throws when the connection is lost.</summary>
    internal unsafe int? TrySend(SendQueue bytes, bool wait)
    {
        if (wait && !_sendWaitSet)
        {
            _sendWaitSet = true;
            SetTimeout(SendTimeout, SendWaitMicroseconds);
        }
        var count = Math.Min(bytes.ChunkCount, MaxVectors);
        var vectors = stackalloc Libc.Vector[MaxVectors];
        Span<System.Buffers.MemoryHandle> pins = count > 1 ? new System.Buffers.MemoryHandle[count] : [];
        try
        {
            for (var i = 1; i < count; i++)
            {
                var chunk = bytes.Chunk(i);
                pins[i] = chunk.Pin();
                vectors[i] = new() { Start = (byte*)pins[i].Pointer, Length = (nuint)chunk.Length };
            }
            // One chunk is the rule, and needs no handle.
            var first = bytes.Chunk(0).Span;
            fixed (byte* start = first)
            {
                vectors[0] = new() { Start = start, Length = (nuint)first.Length };
                return Send(vectors, count, wait);
            }
        }
        finally
        {
            foreach (var pin in pins)
            {
                pin.Dispose();
            }
        }
    }

    /// <summary>Completes on the pool when bytes may be sent again or the connection has ended.</summary>
    internal Task WaitWritableAsync()
    {
        var waiter = new Waiter();
        _poll.Wait(Libc.EpollOut, waiter);
        return waiter.Task;
    }

    /// <summary>Runs the work item on the pool, once, when there are bytes to read or the connection has ended.</summary>
    internal void WhenReadable(IThreadPoolWorkItem work) => _poll.Wait(Libc.EpollIn, work);

    private StreamConnection CreateTransport()
    {
        if (!IsClosed)
        {
            // .NET may believe that it is (see UnixSocket.ConnectAsync), and its asynchronous calls would block.
            Libc.SetNonBlocking(_handle);
        }
        return new StreamConnection(new NetworkStream(_socket, ownsSocket: false), Peer, LocalAddress);
    }

    private unsafe int? Send(Libc.Vector* vectors, int count, bool wait)
    {
        var message = new Libc.MessageHeader { Vectors = vectors, VectorCount = (nuint)count };
        while (true)
        {
            var sent = Libc.SendMessage(_handle, &message, Libc.MessageNoSignal | (wait ? 0 : Libc.MessageDontWait));
            if (sent >= 0)
            {
                return (int)sent;
            }
            if (Marshal.GetLastPInvokeError() is var error && error == Libc.TryAgain)
            {
                return null;
            }
            ThrowUnlessInterrupted(error);
        }
    }

    private void Shutdown()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
        {
            return;
        }
        try
        {
            _ = Libc.Shutdown(_handle, Libc.ShutdownBoth);
        }
        catch (ObjectDisposedException)
        {
            // The owner of the socket was quicker.
        }
        // Closing takes a descriptor out of epoll without a word.
        _poll.Close();
    }

    private void SetTimeout(int option, int microseconds)
    {
        // struct timeval { long tv_sec; long tv_usec; }
        Span<nint> time = [0, microseconds];
        _socket.SetRawSocketOption(SolSocket, option, MemoryMarshal.AsBytes(time));
    }

    private static void ThrowUnlessInterrupted(int error)
    {
        if (error != Libc.Interrupted)
        {
            throw new IOException(Marshal.GetPInvokeErrorMessage(error));
        }
    }

    private sealed class Waiter : TaskCompletionSource, IThreadPoolWorkItem
    {
        public void Execute() => SetResult();
    }
}
