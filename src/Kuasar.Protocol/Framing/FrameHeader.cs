using System.Buffers;
using System.Buffers.Binary;

namespace Kuasar.Protocol.Framing;

/// <summary>What a frame carries. 0x04 and 0x05 are proposed as ping and pong (containerd/ttrpc#203): never used here.</summary>
internal enum FrameType : byte
{
    Request = 0x01,
    Response = 0x02,
    Data = 0x03,
}

/// <summary>How a frame moves the state of its stream.</summary>
[Flags]
internal enum FrameFlags : byte
{
    None = 0,
    RemoteClosed = 0x01,
    RemoteOpen = 0x02,
    NoData = 0x04,

    /// <summary>A request that opens a client or duplex stream. Rust invents a first message unless "no data" is set.</summary>
    OpenStream = RemoteOpen | NoData,

    /// <summary>The separate frame that ends one side of a stream.</summary>
    EndStream = RemoteClosed | NoData,
}

/// <summary>The ten bytes before each frame's data.</summary>
/// <remarks><code>
///  0               4               8     9     10
/// +---------------+---------------+-----+-----+------------ - -
/// | data length   | stream id     |type |flags| data
/// | u32 BE        | u32 BE        | u8  | u8  | (length bytes)
/// +---------------+---------------+-----+-----+------------ - -
/// </code></remarks>
internal readonly record struct FrameHeader(uint Length, uint StreamId, FrameType Type, FrameFlags Flags)
{
    internal const int Size = 10;
    private const int StreamIdOffset = 4;
    private const int TypeOffset = 8;
    private const int FlagsOffset = 9;

    internal static bool TryRead(in ReadOnlySequence<byte> buffer, out FrameHeader header)
    {
        if (buffer.Length < Size)
        {
            header = default;
            return false;
        }
        var first = buffer.FirstSpan;
        if (first.Length >= Size)
        {
            header = Read(first);
            return true;
        }
        Span<byte> copy = stackalloc byte[Size];
        buffer.Slice(0, Size).CopyTo(copy);
        header = Read(copy);
        return true;
    }

    internal static FrameHeader Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt32BigEndian(bytes),
        BinaryPrimitives.ReadUInt32BigEndian(bytes[StreamIdOffset..]),
        (FrameType)bytes[TypeOffset],
        (FrameFlags)bytes[FlagsOffset]);

    internal void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt32BigEndian(bytes, Length);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[StreamIdOffset..], StreamId);
        bytes[TypeOffset] = (byte)Type;
        bytes[FlagsOffset] = (byte)Flags;
    }
}
