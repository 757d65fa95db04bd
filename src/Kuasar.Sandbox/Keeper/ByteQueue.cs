using System.Buffers;

namespace Kuasar.Sandbox.Keeper;

/// <summary>Bytes that wait, first in, first out. Holds no memory while it is empty.</summary>
internal sealed class ByteQueue
{
    private byte[] _buffer = [];
    private int _start, _end;

    internal int Length => _end - _start;

    internal ReadOnlySpan<byte> Span => _buffer.AsSpan(_start, Length);

    internal void Append(ReadOnlySpan<byte> bytes)
    {
        if (_buffer.Length - _end < bytes.Length)
        {
            MakeRoom(bytes.Length);
        }
        bytes.CopyTo(_buffer.AsSpan(_end));
        _end += bytes.Length;
    }

    internal void Remove(int count)
    {
        _start += count;
        if (_start == _end)
        {
            Clear();
        }
    }

    internal void Clear()
    {
        if (_buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
        }
        (_buffer, _start, _end) = ([], 0, 0);
    }

    private void MakeRoom(int count)
    {
        var length = Length;
        if (_buffer.Length >= length + count && _start > _buffer.Length / 2)
        {
            Span.CopyTo(_buffer);
        }
        else
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(length + count, Math.Max(512, length * 2)));
            Span.CopyTo(larger);
            if (_buffer.Length > 0)
            {
                ArrayPool<byte>.Shared.Return(_buffer);
            }
            _buffer = larger;
        }
        (_start, _end) = (0, length);
    }
}
