using System.Net.Sockets;
using Kuasar.Linux;
using Kuasar.Protocol;

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
public sealed class VsockStream : Stream
{
    /// <summary>Bytes in one system call over AF_VSOCK.</summary>
    public const int MaxNativeWrite = 32 * 1024;

    private readonly Socket _socket;
    private readonly int _maxWrite;
    private int _disposed;

    internal VsockStream(Socket socket, VsockEndPoint remote)
    {
        _socket = socket;
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
    /// <remarks>Waits in the kernel itself: .NET's blocking calls go by its event loop once a socket was used asynchronously.</remarks>
    public override int Read(Span<byte> buffer)
    {
        var count = Libc.ReceiveWaiting(_socket.SafeHandle, buffer);
        return count >= 0 ? count : throw Lost(new LinuxException("recv", -count));
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return await _socket.ReceiveAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (SocketException error)
        {
            throw Lost(error);
        }
    }

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        try
        {
            while (!buffer.IsEmpty)
            {
                buffer = buffer[_socket.Send(buffer[..Math.Min(buffer.Length, _maxWrite)])..];
            }
        }
        catch (SocketException error)
        {
            throw Lost(error);
        }
    }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            while (!buffer.IsEmpty)
            {
                var part = buffer[..Math.Min(buffer.Length, _maxWrite)];
                buffer = buffer[await _socket.SendAsync(part, cancellationToken).ConfigureAwait(false)..];
            }
        }
        catch (SocketException error)
        {
            throw Lost(error);
        }
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
        if (disposing && Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            try
            {
                // A read that waits in the kernel keeps the descriptor open.
                _socket.Shutdown(SocketShutdown.Both);
            }
            catch (SocketException)
            {
                // Lost already.
            }
            _socket.Dispose();
        }
        base.Dispose(disposing);
    }

    private VsockException Lost(Exception error) => new(VsockFailure.Lost, $"{RemoteEndPoint}: {error.Message}", error);
}
