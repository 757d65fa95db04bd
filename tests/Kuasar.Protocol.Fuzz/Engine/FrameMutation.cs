using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Fuzz.Targets;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>Changes that leave the other frames of an input whole: blind ones lose the boundaries, and then all is one error.</summary>
internal static class FrameMutation
{
    private static readonly byte[] Types = [1, 2, 3, 3, 4, 0];
    private static readonly byte[] FlagSets = [0, 1, 2, 4, 5, 6, 7, 0xFF];

    /// <summary>False when there is no frame to change. <paramref name="change"/> changes bytes that are no frame.</summary>
    internal static bool TryApply(Random random, List<byte> bytes, byte[] other, Action<List<byte>, byte[]> change)
    {
        var input = bytes.ToArray();
        var frames = Places(input);
        if (frames.Count == 0)
        {
            return false;
        }
        var (start, length) = frames[random.Next(frames.Count)];
        var frame = input[start..(start + length)];
        switch (random.Next(9))
        {
            case 0:
                bytes.RemoveRange(start, length);
                break;
            case 1:
                bytes.InsertRange(frames[random.Next(frames.Count)].Start, frame);
                break;
            case 2:
                bytes.RemoveRange(start, length);
                bytes.AddRange(frame);
                break;
            case 3:
                // The ids that the calls of these tests have, for most.
                var id = random.Next(8) == 0 ? random.NextInt64(1L << 32) : random.Next(14);
                (FrameHeader.Read(frame) with { StreamId = (uint)id }).Write(frame);
                Replace(bytes, start, length, frame);
                break;
            case 4:
                frame[8] = Types[random.Next(Types.Length)];
                Replace(bytes, start, length, frame);
                break;
            case 5:
                frame[9] = FlagSets[random.Next(FlagSets.Length)];
                Replace(bytes, start, length, frame);
                break;
            case 6 when Places(other) is { Count: > 0 } others:
                var (from, count) = others[random.Next(others.Count)];
                bytes.InsertRange(start, other[from..(from + count)]);
                break;
            default:
                var data = new List<byte>(frame[FrameHeader.Size..]);
                change(data, other);
                (FrameHeader.Read(frame) with { Length = (uint)data.Count }).Write(frame);
                Replace(bytes, start, length, [.. frame[..FrameHeader.Size], .. data]);
                break;
        }
        return true;
    }

    private static void Replace(List<byte> bytes, int start, int length, byte[] by)
    {
        bytes.RemoveRange(start, length);
        bytes.InsertRange(start, by);
    }

    private static List<(int Start, int Length)> Places(byte[] input)
    {
        var places = new List<(int, int)>();
        for (var at = Plan.Size; at + FrameHeader.Size <= input.Length;)
        {
            var length = FrameHeader.Read(input.AsSpan(at)).Length;
            if (length > (uint)(input.Length - at - FrameHeader.Size))
            {
                break;
            }
            places.Add((at, FrameHeader.Size + (int)length));
            at += FrameHeader.Size + (int)length;
        }
        return places;
    }
}
