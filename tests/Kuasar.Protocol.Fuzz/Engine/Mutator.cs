using System.Buffers.Binary;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>Makes new inputs of old ones.</summary>
internal sealed class Mutator(Random random, int maxLength)
{
    private const int MaxSteps = 6;

    private static readonly byte[] Interesting = [0, 1, 2, 3, 4, 5, 6, 0x0A, 0x12, 0x1A, 0x20, 0x2A, 0x7F, 0x80, 0xFE, 0xFF];

    private static readonly byte[][] Words =
    [
        [0x0A, 3, .. "f.S"u8], [0x12, 1, (byte)'U'], [0x12, 1, (byte)'D'], [0x12, 1, (byte)'C'], [0x12, 1, (byte)'B'],
        [0x0A, 3, .. "f.S"u8, 0x12, 1, (byte)'B', 0x1A, 2, 8, 1], [0x0A, 0], [0x12, 0], [0x1A, 0], [0x20, 1],
        [0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1], [0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        [0x2A, 6, 0x0A, 1, (byte)'k', 0x12, 1, (byte)'v'], [0x2A, 9, 0x0A, 5, .. "k-bin"u8, 0x12, 0], [0x0A, 2, 8, 5],
        [0xFF, 0xFF, 0xFF, 0xFF, 0x0F], [0xC3, 0xA4], [0x1A, 4, 0x0A, 0, 0x12, 0], [0, 0, 0, 0], [0, 0x40, 0, 0], [0, 0, 0, 5],
    ];

    /// <param name="input">Stays as it is.</param>
    /// <param name="other">Another input, to take pieces from.</param>
    internal byte[] Mutate(byte[] input, byte[] other)
    {
        var bytes = new List<byte>(input);
        var frames = random.Next(2) == 0;
        for (var steps = random.Next(1, MaxSteps + 1); steps > 0; steps--)
        {
            if (!frames || !FrameMutation.TryApply(random, bytes, other, Change))
            {
                Change(bytes, other);
            }
        }
        if (bytes.Count > maxLength)
        {
            bytes.RemoveRange(maxLength, bytes.Count - maxLength);
        }
        return [.. bytes];
    }

    /// <summary>One change that knows nothing of frames.</summary>
    private void Change(List<byte> bytes, byte[] other)
    {
        var at = random.Next(bytes.Count + 1);
        if (at == bytes.Count)
        {
            bytes.InsertRange(at, Word());
            return;
        }
        var count = Math.Min(bytes.Count - at, 1 + random.Next(1 << random.Next(7)));
        switch (random.Next(10))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2:
                bytes[at] = Interesting[random.Next(Interesting.Length)];
                break;
            case 3:
                bytes[at] += (byte)random.Next(-8, 9);
                break;
            case 4:
                bytes.RemoveRange(at, count);
                break;
            case 5:
                bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, count));
                break;
            case 6:
                bytes.InsertRange(at, Word());
                break;
            case 7:
                var word = Word();
                bytes.RemoveRange(at, Math.Min(word.Length, bytes.Count - at));
                bytes.InsertRange(at, word);
                break;
            case 8 when other.Length > 0:
                var from = random.Next(other.Length);
                bytes.InsertRange(at, other.AsSpan(from, Math.Min(other.Length - from, count)).ToArray());
                break;
            default:
                bytes.InsertRange(at, Enumerable.Repeat(bytes[at], count));
                break;
        }
    }

    private byte[] Word()
    {
        if (random.Next(4) != 0)
        {
            return Words[random.Next(Words.Length)];
        }
        var number = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(number, (uint)(1L << random.Next(32)) + (uint)random.Next(-1, 2));
        return number;
    }
}
