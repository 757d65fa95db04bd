using System.Net.Sockets;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>What is between a raw peer and the end under test.</summary>
internal enum Wire
{
    Memory,

    /// <summary>A unix socket.</summary>
    Socket,

    /// <summary>A unix socket that gives the end under test its bytes one by one.</summary>
    Crumbs,
}

internal static class Wires
{
    /// <summary>Both ends; the other never takes a faster path when it is a <paramref name="raw"/> one.</summary>
    public static (Connection Tested, Connection Other) Create(this Wire wire, string? address = null, bool raw = true)
    {
        if (wire == Wire.Memory)
        {
            var (other, tested) = ConnectionPair.Create(address);
            return (tested, other);
        }
        var (near, far) = Sockets();
        var farEnd = raw ? Connection.FromStream(new NetworkStream(far, ownsSocket: true)) : Connection.FromSocket(far);
        return wire == Wire.Socket
            ? (Connection.FromSocket(near, address), farEnd)
            : (Connection.FromStream(new CrumbStream(new NetworkStream(near, ownsSocket: true)), address), farEnd);
    }

    /// <summary>A connected pair.</summary>
    public static (Socket Accepted, Socket Connected) Sockets()
    {
        using var listener = Create();
        listener.Bind(new UnixDomainSocketEndPoint($"\0kuasar-test-{Guid.NewGuid():N}"));
        listener.Listen(1);
        var connected = Create();
        connected.Connect(listener.LocalEndPoint!);
        return (listener.Accept(), connected);

        static Socket Create() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    }
}

/// <summary>One byte a read at first, then odd pieces: bytewise to the end, 4 MiB would take their time.</summary>
internal sealed class CrumbStream(Stream inner) : Stream
{
    private const int Bytewise = 4096;
    private const int Piece = 8191;
    private int _read;

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var count = await inner.ReadAsync(buffer[..Math.Min(buffer.Length, _read < Bytewise ? 1 : Piece)], cancellationToken);
        _read += count;
        return count;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        inner.WriteAsync(buffer, cancellationToken);

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(byte[] buffer, int offset, int count) => inner.Write(buffer, offset, count);

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        inner.Dispose();
        base.Dispose(disposing);
    }
}
