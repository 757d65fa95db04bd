using System.Buffers.Binary;
using System.Text;

namespace Kuasar.Sandbox.Keeper;

/// <summary>As much of ttrpc as a relay has to know: where frames begin and end, what a request asks for, and what an error looks like.</summary>
/// <remarks>u32 BE data length, u32 BE stream id, u8 type, u8 flags, data (PROTOCOL.md of containerd/ttrpc).</remarks>
internal static class TtrpcFrame
{
    internal const int HeaderSize = 10, MaxData = 4 << 20, MaxAnnounced = 0x00FF_FFFF;
    internal const byte Request = 1, Response = 2, Data = 3;

    internal const uint InvalidArgument = 3, ResourceExhausted = 8, Unavailable = 14;

    /// <summary>Metadata of a request that a sandboxer had in hand when it died: what it asks for may be done already. The value says nothing.</summary>
    internal const string AskedBefore = "kuasar-asked-before";

    private const byte StreamFlags = 0x01 | 0x02 | 0x04;

    internal static int DataLength(ReadOnlySpan<byte> header) => (int)Math.Min(BinaryPrimitives.ReadUInt32BigEndian(header), int.MaxValue);

    internal static uint StreamId(ReadOnlySpan<byte> header) => BinaryPrimitives.ReadUInt32BigEndian(header[4..]);

    internal static byte Type(ReadOnlySpan<byte> header) => header[8];

    /// <summary>Whether a request opens a stream of messages instead of asking once.</summary>
    internal static bool OpensStream(ReadOnlySpan<byte> header) => (header[9] & StreamFlags) is not 0 and not 0x01;

    /// <summary>message Request { string service = 1; string method = 2; … }. Both empty when it cannot be read.</summary>
    internal static void Names(ReadOnlySpan<byte> data, out ReadOnlySpan<byte> service, out ReadOnlySpan<byte> method)
    {
        service = method = default;
        var at = 0;
        while (at < data.Length)
        {
            if (!TryVarint(data, ref at, out var tag))
            {
                return;
            }
            switch (tag & 7)
            {
                case 0 when TryVarint(data, ref at, out _):
                    break;
                case 2 when TryVarint(data, ref at, out var length) && length <= (ulong)(data.Length - at):
                    var bytes = data.Slice(at, (int)length);
                    at += (int)length;
                    if (tag >> 3 == 1)
                    {
                        service = bytes;
                    }
                    else if (tag >> 3 == 2)
                    {
                        method = bytes;
                    }
                    break;
                default:
                    return;
            }
        }
    }

    /// <summary>The request with <see cref="AskedBefore"/>; as it was when it has that, or has no room for it.</summary>
    internal static byte[] Mark(ReadOnlySpan<byte> request)
    {
        // repeated KeyValue metadata = 5 { string key = 1; string value = 2 }: a message may end with any of its fields.
        var key = Encoding.UTF8.GetBytes(AskedBefore);
        byte[] field = [0x2A, (byte)(key.Length + 5), 0x0A, (byte)key.Length, .. key, 0x12, 1, (byte)'1'];
        if (request.EndsWith(field) || DataLength(request) + field.Length > MaxData)
        {
            return request.ToArray();
        }
        byte[] frame = [.. request, .. field];
        BinaryPrimitives.WriteUInt32BigEndian(frame, (uint)(frame.Length - HeaderSize));
        return frame;
    }

    /// <summary>A response that is an error: Response { Status status = 1 { int32 code = 1; string message = 2 } }.</summary>
    internal static byte[] Error(uint streamId, uint code, string message)
    {
        var text = Encoding.UTF8.GetBytes(message);
        if (text.Length > 100)
        {
            throw new ArgumentException("one length byte is all there is", nameof(message));
        }
        byte[] frame = [0, 0, 0, (byte)(text.Length + 6), 0, 0, 0, 0, Response, 0, 0x0A, (byte)(text.Length + 4), 0x08, (byte)code, 0x12, (byte)text.Length, .. text];
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(4), streamId);
        return frame;
    }

    private static bool TryVarint(ReadOnlySpan<byte> data, ref int at, out ulong value)
    {
        value = 0;
        for (var shift = 0; shift < 64 && at < data.Length; shift += 7)
        {
            var next = data[at++];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
            {
                return true;
            }
        }
        return false;
    }
}
