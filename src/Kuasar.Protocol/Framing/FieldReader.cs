using System.Buffers;
using System.Text;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// Walks the fields of one protobuf message without copying: Google.Protobuf would copy every <c>bytes</c> field, and the
/// payload is one.
/// </summary>
internal ref struct FieldReader(in ReadOnlySequence<byte> message)
{
    internal const int Varint = 0;
    internal const int Delimited = 2;
    private const int Fixed64 = 1;
    private const int Fixed32 = 5;
    private const int MaxVarintShift = 63;

    /// <summary>protobuf strings are valid UTF-8, and Go refuses others.</summary>
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private SequenceReader<byte> _reader = new(message);

    /// <summary>The next field's number and wire type; false at the end.</summary>
    /// <exception cref="InvalidDataException">The bytes are no protobuf message; so from all methods here.</exception>
    internal bool TryReadTag(out int field, out int wireType)
    {
        field = wireType = 0;
        if (_reader.End)
        {
            return false;
        }
        var tag = ReadVarint();
        field = (int)(tag >> 3);
        wireType = (int)(tag & 7);
        return field > 0 && tag <= uint.MaxValue ? true : throw Malformed();
    }

    internal ulong ReadVarint()
    {
        ulong value = 0;
        for (var shift = 0; shift <= MaxVarintShift; shift += 7)
        {
            if (!_reader.TryRead(out var next))
            {
                throw Malformed();
            }
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }
        throw Malformed();
    }

    internal ReadOnlySequence<byte> ReadBytes()
    {
        var length = ReadVarint();
        if (length > (ulong)_reader.Remaining)
        {
            throw Malformed();
        }
        var bytes = _reader.UnreadSequence.Slice(0, (long)length);
        _reader.Advance((long)length);
        return bytes;
    }

    internal string ReadString() => Decode(ReadBytes());

    internal void Skip(int wireType)
    {
        switch (wireType)
        {
            case Varint:
                ReadVarint();
                break;
            case Delimited:
                ReadBytes();
                break;
            case Fixed64:
                Advance(sizeof(ulong));
                break;
            case Fixed32:
                Advance(sizeof(uint));
                break;
            default:
                throw Malformed(); // groups: no envelope ever had one
        }
    }

    internal static string Decode(in ReadOnlySequence<byte> utf8)
    {
        try
        {
            return StrictUtf8.GetString(utf8);
        }
        catch (DecoderFallbackException)
        {
            throw Malformed();
        }
    }

    private void Advance(int count)
    {
        if (_reader.Remaining < count)
        {
            throw Malformed();
        }
        _reader.Advance(count);
    }

    private static InvalidDataException Malformed() => new("malformed envelope");
}
