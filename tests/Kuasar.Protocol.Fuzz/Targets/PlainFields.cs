using System.Text;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>What makes our reading of a message differ from Google.Protobuf's, and is meant to.</summary>
/// <param name="Odd">Refused by us alone: groups, which no envelope ever had, and tags that are no 32-bit number.</param>
/// <param name="BadNames">Refused by protobuf at once and by us when it matters: field 1 or 2 that is no UTF-8.</param>
internal readonly record struct PlainFields(bool Odd, bool BadNames)
{
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads up to the first thing that is no protobuf; the contents of field <paramref name="inside"/> as well.</summary>
    internal static PlainFields Read(ReadOnlySpan<byte> bytes, int inside)
    {
        var found = default(PlainFields);
        while (!bytes.IsEmpty && TryVarint(ref bytes, out var tag))
        {
            var (field, wireType) = (tag >> 3, (int)(tag & 7));
            if (tag > uint.MaxValue || wireType is 3 or 4)
            {
                return found with { Odd = true };
            }
            var length = wireType switch { 1 => 8ul, 5 => 4ul, _ => 0ul };
            if ((wireType is 0 or 2 && !TryVarint(ref bytes, out length)) || (wireType != 0 && length > (ulong)bytes.Length))
            {
                return found;
            }
            if (wireType == 0)
            {
                continue;
            }
            var content = bytes[..(int)length];
            bytes = bytes[(int)length..];
            if (wireType == 2 && field is 1 or 2 && !IsUtf8(content))
            {
                found = found with { BadNames = true };
            }
            if (wireType == 2 && inside != 0 && field == (ulong)inside && Read(content, 0).Odd)
            {
                return found with { Odd = true };
            }
        }
        return found;
    }

    private static bool TryVarint(ref ReadOnlySpan<byte> bytes, out ulong value)
    {
        value = 0;
        for (var i = 0; i < Math.Min(10, bytes.Length); i++)
        {
            value |= (ulong)(bytes[i] & 0x7F) << (7 * i);
            if (bytes[i] < 0x80)
            {
                bytes = bytes[(i + 1)..];
                return true;
            }
        }
        return false;
    }

    private static bool IsUtf8(ReadOnlySpan<byte> bytes)
    {
        try
        {
            StrictUtf8.GetCharCount(bytes);
            return true;
        }
        catch (DecoderFallbackException)
        {
            return false;
        }
    }
}
