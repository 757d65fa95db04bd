using System.Buffers;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// Bytes waiting to be sent: contiguous, so that a frame's length is patched in after its message and a frame that fails is
/// cut off again. Holds a pooled array only while there are bytes.
/// </summary>
internal sealed class OutputBuffer : IBufferWriter<byte>
{
    private const int MinCapacity = 4096;

    private byte[] _array = [];

    internal int Length { get; private set; }
    internal int Capacity => _array.Length;
    internal ReadOnlyMemory<byte> Written => _array.AsMemory(0, Length);

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, _array.Length - Length);
        Length += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsMemory(Length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsSpan(Length);
    }

    internal Span<byte> At(int offset, int count) => _array.AsSpan(offset, count);

    internal void Truncate(int length) => Length = Math.Min(length, Length);

    /// <summary>Makes room for so many more bytes.</summary>
    internal void Reserve(int count)
    {
        if (_array.Length - Length >= count)
        {
            return;
        }
        var bigger = ByteArrays.Rent(Math.Max(Math.Max(Length + count, Length * 2), MinCapacity));
        Written.CopyTo(bigger);
        ByteArrays.Return(_array);
        _array = bigger;
    }

    /// <summary>Empties the buffer and gives its array back. Not while somebody still sends from it.</summary>
    internal void Release()
    {
        Length = 0;
        ByteArrays.Return(_array);
        _array = [];
    }
}
