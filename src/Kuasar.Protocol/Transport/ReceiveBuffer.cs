using System.Buffers;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Transport;

/// <summary>Bytes received and not yet taken, in one piece. Holds a pooled array only from the first receive to the last frame.</summary>
internal sealed class ReceiveBuffer
{
    private const int Size = 64 * 1024;
    private const int MinFree = 4096;

    /// <summary>An array so large is kept, once a frame wanted it: 64 KiB, a common size, are more than that in a frame.</summary>
    private const int Kept = 2 * Size;

    private byte[] _array = [];
    private int _start;
    private int _end;

    internal bool IsEmpty => _start == _end;

    /// <summary>Where the next bytes go.</summary>
    internal Span<byte> Free => _array.AsSpan(_end);

    internal ReadOnlySequence<byte> Received => new(_array, _start, _end - _start);

    internal ReadOnlySpan<byte> ReceivedSpan => _array.AsSpan(_start, _end - _start);

    internal void Add(int count) => _end += count;

    /// <summary>Everything but the last <paramref name="rest"/> bytes has been taken.</summary>
    internal void KeepLast(long rest) => _start = _end - (int)rest;

    /// <summary>Makes room to receive, for so many bytes in all from the first that is kept.</summary>
    internal void Reserve(int total)
    {
        var wanted = Math.Max(total, Size);
        if (IsEmpty)
        {
            _start = _end = 0;
            // A larger array served a large frame.
            if (_array.Length >= wanted && _array.Length <= Math.Max(Kept, total))
            {
                return;
            }
            ByteArrays.Return(_array);
            _array = ByteArrays.Rent(wanted);
            return;
        }
        if (total > 0 ? _array.Length - _start >= total : _array.Length - _end >= MinFree)
        {
            return;
        }
        var kept = _end - _start;
        var target = _array.Length >= wanted ? _array : ByteArrays.Rent(wanted);
        Buffer.BlockCopy(_array, _start, target, 0, kept);
        if (target != _array)
        {
            ByteArrays.Return(_array);
            _array = target;
        }
        (_start, _end) = (0, kept);
    }

    /// <summary>Gives the array back.</summary>
    internal void Release()
    {
        _start = _end = 0;
        ByteArrays.Return(_array);
        _array = [];
    }
}
