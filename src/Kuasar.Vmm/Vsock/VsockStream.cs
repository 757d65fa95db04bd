using System.Net.Sockets;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Vmm.Vsock;

namespace Kuasar.Vmm;

/// <summary>
/// One vsock connection. Reads and writes may run at the same time, one of each. <see cref="Dispose(bool)"/> ends those in progress, so it
/// will do as the transport of a <see cref="Connection"/>.
/// </summary>
/// <remarks>
/// NetworkStream refuses sockets of a family that .NET does not know. Over AF_VSOCK no system call writes more than
/// <see cref="MaxNativeWrite"/> bytes: with guest kernels from 6.12 on, a larger one stalls the connection for ever at vhost-device-vsock.
/// </remarks>
#pragma warning disable RS0027 // Stream's own overloads
public sealed partial class VsockStream : Stream
{
    /// <summary>Bytes in one system call over AF_VSOCK.</summary>
    public const int MaxNativeWrite = 32 * 1024;

    private readonly Socket _socket;
    private readonly int _maxWrite;
    private readonly CancellationTokenSource _disposed = new();

    internal VsockStream(Socket socket, VsockEndPoint remote)
    {
        _socket = socket;
        Libc.LimitReceiveWait(socket.SafeHandle, s_briskWait);
        _maxWrite = remote.Path is null ? MaxNativeWrite : int.MaxValue;
        RemoteEndPoint = remote;
    }

    /// <summary>Who is at the other end: as dialled, or who has dialled (hybrid: the port dialled, as the caller's is not told).</summary>
    public VsockEndPoint RemoteEndPoint { get; }

    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>A ttrpc connection over the stream, which it takes over.</summary>
    public Connection ToConnection() => Connection.FromStream(this, RemoteEndPoint.ToString());

    /// <summary>No more is written: the other end reads an end, and may still write.</summary>
    /// <exception cref="VsockException">The connection is lost.</exception>
    public void CompleteWrites()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException error)
        {
            throw Lost(error);
        }
    }

    /// <inheritdoc/>
    public override int Read(Span<byte> buffer)
    {
        int count;
        while ((count = Libc.TryReceive(_socket.SafeHandle, buffer, wait: true)) == -Libc.EAGAIN)
        {
            Libc.WaitReady(_socket.SafeHandle, Libc.POLLIN, Timeout.InfiniteTimeSpan);
        }
        return Checked("recv", count);
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    /// <remarks>
    /// While answers come within two milliseconds it waits for them in the kernel, and a round trip is as short as a blocking one; a stream that
    /// has been silent for longer, twice, holds no thread, and never do more streams than half as many as there are processors. Without room in the buffer it waits until there is something to read.
    /// </remarks>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        ReceiveAsync(buffer, 0, cancellationToken);

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var count = Libc.TrySend(_socket.SafeHandle, buffer[..Math.Min(buffer.Length, _maxWrite)]);
            if (count == -Libc.EAGAIN)
            {
                Libc.WaitReady(_socket.SafeHandle, Libc.POLLOUT, Timeout.InfiniteTimeSpan);
                continue;
            }
            buffer = buffer[Checked("send", count)..];
        }
    }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled(cancellationToken);
        }
        try
        {
            if ((buffer = SendSome(buffer)).IsEmpty)
            {
                return default;
            }
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            return ValueTask.FromException(error);
        }
        return WriteLaterAsync(buffer, cancellationToken);
    }

    /// <inheritdoc/>
    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !_disposed.IsCancellationRequested)
        {
            _disposed.Cancel();
            try
            {
                // A read that waits in the kernel keeps the descriptor open.
                _socket.Shutdown(SocketShutdown.Both);
                if (RemoteEndPoint.Path is not null)
                {
                    // What is left unread makes an error of the end, which vhost-device-vsock does not pass on: in the guest the connection would never end.
                    Libc.ReadAway(_socket.SafeHandle);
                }
            }
            catch (SocketException)
            {
                // Lost already.
            }
            _socket.Dispose();
        }
        base.Dispose(disposing);
    }

    private int Checked(string call, int count) =>
        count > 0 ? count
        : _disposed.IsCancellationRequested ? throw new ObjectDisposedException(nameof(VsockStream)) // not the other side's end
        : count == 0 ? 0
        : throw new VsockException(VsockFailure.Lost, $"{RemoteEndPoint}: {new LinuxException(call, -count).Message}");

    private VsockException Lost(SocketException error) => new(VsockFailure.Lost, $"{RemoteEndPoint}: {error.Message}", error);
}
