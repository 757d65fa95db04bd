using System.Buffers.Binary;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Fuzz.Targets;

internal sealed record PlainFrame(uint Id, byte Type, byte Flags, bool Oversized, byte[] Data);

/// <summary>
/// What is in a byte string by the words of the protocol, read in the plainest way: the frames, whether an impossible length
/// ended them, and how many bytes the last one lacks.
/// </summary>
internal sealed record PlainFrames(List<PlainFrame> Frames, bool Bad, long Missing)
{
    internal static PlainFrames Read(ReadOnlySpan<byte> bytes, int limit)
    {
        var frames = new List<PlainFrame>();
        while (bytes.Length >= FrameHeader.Size)
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(bytes);
            var (id, type, flags) = (BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]), bytes[8], bytes[9]);
            if (length > 0xFFFFFF)
            {
                return new(frames, Bad: true, 0);
            }
            var there = (int)Math.Min(length, bytes.Length - FrameHeader.Size);
            if (length > limit)
            {
                frames.Add(new(id, type, flags, Oversized: true, []));
            }
            else if (there == length)
            {
                frames.Add(new(id, type, flags, Oversized: false, bytes.Slice(FrameHeader.Size, there).ToArray()));
            }
            if (there < length)
            {
                return new(frames, Bad: false, length - there);
            }
            bytes = bytes[(FrameHeader.Size + there)..];
        }
        return new(frames, Bad: false, bytes.IsEmpty ? 0 : FrameHeader.Size - bytes.Length);
    }

    internal static byte[] Frame(uint id, FrameType type, FrameFlags flags, ReadOnlySpan<byte> data)
    {
        var bytes = new byte[FrameHeader.Size + data.Length];
        new FrameHeader((uint)data.Length, id, type, flags).Write(bytes);
        data.CopyTo(bytes.AsSpan(FrameHeader.Size));
        return bytes;
    }
}
