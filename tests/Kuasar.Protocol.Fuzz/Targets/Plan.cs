using System.Buffers;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>The first two bytes of every input say how the rest is fed; missing ones are 0.</summary>
/// <param name="Cuts">0: whole; 1: byte by byte; else the seed of random pieces.</param>
/// <param name="Mode">Bits of the target's own.</param>
/// <param name="Bytes">The rest.</param>
internal readonly record struct Plan(byte Cuts, byte Mode, byte[] Bytes)
{
    internal const int Size = 2;

    internal static Plan Of(byte[] input) => new(
        input.Length > 0 ? input[0] : (byte)0, input.Length > 1 ? input[1] : (byte)0, input.Length > Size ? input[Size..] : []);

    /// <summary>The bytes in pieces; empty ones come as well.</summary>
    internal IEnumerable<ReadOnlyMemory<byte>> Pieces()
    {
        var random = new Random(Cuts);
        var most = Cuts == 0 ? Bytes.Length : 1 << (Cuts % 8);
        for (var at = 0; at < Bytes.Length;)
        {
            var count = Math.Min(Bytes.Length - at, Cuts < 2 ? Math.Max(1, most * (1 - Cuts)) : random.Next(most + 1));
            yield return Bytes.AsMemory(at, count);
            at += count;
        }
    }

    /// <summary>The pieces as one sequence.</summary>
    internal ReadOnlySequence<byte> Segmented()
    {
        Piece? first = null, last = null;
        foreach (var piece in Pieces())
        {
            last = new Piece(piece, last);
            first ??= last;
        }
        return first is null ? default : new(first, 0, last!, last!.Memory.Length);
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        internal Piece(ReadOnlyMemory<byte> memory, Piece? before)
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
