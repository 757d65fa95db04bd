using System.Buffers;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>Byte strings in pieces, as sockets bring them.</summary>
internal static class Segments
{
    /// <summary>In three, cut at every pair of places (so also whole, and in two at every place), and byte by byte.</summary>
    public static IEnumerable<ReadOnlySequence<byte>> Every(byte[] bytes)
    {
        for (var i = 0; i <= bytes.Length; i++)
        {
            for (var j = i; j <= bytes.Length; j++)
            {
                yield return Cut(bytes, i, j);
            }
        }
        yield return Cut(bytes, [.. Enumerable.Range(0, bytes.Length)]);
    }

    /// <summary>Cut at these places, in any order; a place twice is an empty piece, one past the end is the end.</summary>
    public static ReadOnlySequence<byte> Cut(byte[] bytes, params int[] places)
    {
        Segment? first = null, last = null;
        var from = 0;
        foreach (var place in places.Select(place => Math.Min(place, bytes.Length)).Order().Append(bytes.Length))
        {
            last = new Segment(bytes.AsMemory(from..place), last);
            first ??= last;
            from = place;
        }
        return new(first!, 0, last!, last!.Memory.Length);
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, Segment? before)
        {
            Memory = memory;
            if (before is not null)
            {
                RunningIndex = before.RunningIndex + before.Memory.Length;
                before.Next = this;
            }
        }
    }
}
