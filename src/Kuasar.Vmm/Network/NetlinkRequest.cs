using System.Runtime.InteropServices;
using System.Text;

namespace Kuasar.Vmm.Network;

/// <summary>One rtnetlink request. All numbers are the machine's, all parts padded to four bytes.</summary>
/// <remarks>
/// <code>
///   +--------+------+-------+-----+-----+---------------+----------------------------+
///   | len 4  | type | flags | seq | pid | family header | attributes: len 2, type 2, |
///   | of all | 2    | 2     | 4   | 4   | by type       | value, padding; may nest   |
///   +--------+------+-------+-----+-----+---------------+----------------------------+
/// </code>
/// </remarks>
internal sealed class NetlinkRequest
{
    internal const int HeaderSize = 16, AttributeSize = 4;

    private readonly byte[] _bytes = new byte[1024];

    internal NetlinkRequest(ushort type, ushort flags, ReadOnlySpan<byte> familyHeader)
    {
        const ushort NLM_F_REQUEST = 1;
        BitConverter.TryWriteBytes(_bytes.AsSpan(4), type);
        BitConverter.TryWriteBytes(_bytes.AsSpan(6), (ushort)(flags | NLM_F_REQUEST));
        familyHeader.CopyTo(_bytes.AsSpan(HeaderSize));
        Length = HeaderSize + Align(familyHeader.Length);
    }

    internal ushort Type => BitConverter.ToUInt16(_bytes, 4);

    private int Length { get; set; }

    /// <summary>The finished message.</summary>
    internal ReadOnlySpan<byte> Finish(uint sequence)
    {
        BitConverter.TryWriteBytes(_bytes.AsSpan(0), Length);
        BitConverter.TryWriteBytes(_bytes.AsSpan(8), sequence);
        return _bytes.AsSpan(0, Length);
    }

    internal NetlinkRequest Add(ushort type, ReadOnlySpan<byte> value)
    {
        BitConverter.TryWriteBytes(_bytes.AsSpan(Length), (ushort)(AttributeSize + value.Length));
        BitConverter.TryWriteBytes(_bytes.AsSpan(Length + 2), type);
        value.CopyTo(_bytes.AsSpan(Length + AttributeSize));
        Length += AttributeSize + Align(value.Length);
        return this;
    }

    internal NetlinkRequest Add(ushort type, uint value) => Add(type, MemoryMarshal.AsBytes(new ReadOnlySpan<uint>(in value)));

    internal NetlinkRequest Add(ushort type, string value) => Add(type, Encoding.UTF8.GetBytes(value + '\0'));

    /// <summary>An attribute whose value is the attributes that the action adds.</summary>
    internal NetlinkRequest Nest(ushort type, Action<NetlinkRequest> add)
    {
        var start = Length;
        Add(type, []);
        add(this);
        BitConverter.TryWriteBytes(_bytes.AsSpan(start), (ushort)(Length - start));
        return this;
    }

    internal static int Align(int length) => (length + 3) & ~3;
}

/// <summary>The attributes of an answer, by type; of several of one type the last.</summary>
internal readonly ref struct NetlinkAttributes(ReadOnlySpan<byte> bytes)
{
    private readonly ReadOnlySpan<byte> _bytes = bytes;

    /// <summary>Empty where there is none.</summary>
    internal ReadOnlySpan<byte> this[int type]
    {
        get
        {
            const int NestedBits = 0xC000;
            ReadOnlySpan<byte> found = [];
            var rest = _bytes;
            while (rest.Length >= NetlinkRequest.AttributeSize)
            {
                var length = MemoryMarshal.Read<ushort>(rest);
                var kind = MemoryMarshal.Read<ushort>(rest[2..]) & ~NestedBits;
                if (length < NetlinkRequest.AttributeSize || length > rest.Length)
                {
                    break;
                }
                if (kind == type)
                {
                    found = rest[NetlinkRequest.AttributeSize..length];
                }
                rest = rest[Math.Min(NetlinkRequest.Align(length), rest.Length)..];
            }
            return found;
        }
    }

    internal uint Number(int type) => this[type] is { Length: >= 4 } value ? MemoryMarshal.Read<uint>(value) : 0;

    internal string Text(int type) => Encoding.UTF8.GetString(this[type].TrimEnd((byte)0));
}
