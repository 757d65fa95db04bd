using System.Buffers.Binary;
using System.Text;

namespace Kuasar.Sandbox.Keeper;

/// <summary>What keeper and sandboxer say to each other: the first byte of each packet. Numbers are never given a second meaning.</summary>
internal enum PacketKind : byte
{
    /// <summary>S: protocol (u32), version (string). The first of all.</summary>
    Hello = 1,

    /// <summary>S: request (u32), path. Answered by Listening; connections follow.</summary>
    Listen = 2,

    /// <summary>S: request (u32), path. Answered by Listening with the listening fd: the sandboxer accepts by itself.</summary>
    ListenRaw = 3,

    /// <summary>S: name, with the fd.</summary>
    Store = 4,

    /// <summary>S: name.</summary>
    Drop = 5,

    /// <summary>S: pid (i32), start time (u64). Its end is kept until it is released.</summary>
    Watch = 6,

    /// <summary>S: pid (i32), start time (u64; 0 for whoever had the pid last).</summary>
    Release = 7,

    /// <summary>S: request (u32), pid (i32), start time (u64; 0 for whoever had the pid last). Answered by Ended.</summary>
    EndOf = 8,

    /// <summary>S: it serves.</summary>
    Ready = 9,

    /// <summary>S: it is about to close its connections; they are not to be taken for closed.</summary>
    Leaving = 10,

    /// <summary>K: name, with an fd that was stored before. Before TakeOver.</summary>
    Stored = 32,

    /// <summary>K: the state is yours: nobody else has it.</summary>
    TakeOver = 33,

    /// <summary>K: request (u32), errno (i32); with the fd for ListenRaw.</summary>
    Listening = 34,

    /// <summary>K: path, pid (i32), uid (u32), gid (u32), with our end of the connection.</summary>
    Connection = 35,

    /// <summary>K: request (u32), known (u32), status (i32), unix time in ms (u64).</summary>
    Ended = 36,

    /// <summary>K: end in peace.</summary>
    Stop = 37,
}

/// <summary>Writes a packet, or a part of the keeper's state: little-endian numbers; a string is its length (u32) and its UTF-8.</summary>
internal sealed class PacketWriter
{
    private byte[] _buffer = new byte[256];

    internal int Length { get; private set; }

    internal ReadOnlySpan<byte> Written => _buffer.AsSpan(0, Length);

    internal PacketWriter Begin(PacketKind kind)
    {
        Length = 0;
        Take(1)[0] = (byte)kind;
        return this;
    }

    internal PacketWriter Number(uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(Take(4), value);
        return this;
    }

    internal PacketWriter Long(ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(Take(8), value);
        return this;
    }

    internal PacketWriter Text(string value)
    {
        var count = Encoding.UTF8.GetByteCount(value);
        Number((uint)count);
        Encoding.UTF8.GetBytes(value, Take(count));
        return this;
    }

    internal PacketWriter Bytes(ReadOnlySpan<byte> value)
    {
        Number((uint)value.Length);
        value.CopyTo(Take(value.Length));
        return this;
    }

    private Span<byte> Take(int count)
    {
        if (_buffer.Length - Length < count)
        {
            Array.Resize(ref _buffer, Math.Max(Length + count, _buffer.Length * 2));
        }
        Length += count;
        return _buffer.AsSpan(Length - count, count);
    }
}

/// <summary>Reads what <see cref="PacketWriter"/> wrote.</summary>
/// <exception cref="InvalidDataException">It is too short; so from all members.</exception>
internal ref struct PacketReader(ReadOnlySpan<byte> packet)
{
    private ReadOnlySpan<byte> _rest = packet;

    internal PacketKind Kind() => (PacketKind)Take(1)[0];

    internal uint Number() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    internal ulong Long() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    internal string Text() => Encoding.UTF8.GetString(Bytes());

    internal ReadOnlySpan<byte> Bytes() => Take((int)Math.Min(Number(), int.MaxValue));

    private ReadOnlySpan<byte> Take(int count)
    {
        if (_rest.Length < count)
        {
            throw new InvalidDataException("a packet of the keeper is too short");
        }
        var taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }
}
