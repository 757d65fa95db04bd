using System.Buffers;
using System.Buffers.Binary;

namespace Kuasar.Protocol.Framing;

/// <summary>Takes apart what a multiplexed peer sends. Pure: bytes in, pieces out, whatever the segmentation.</summary>
/// <remarks>
/// <code>
/// 0        4        8
/// | id BE  | length BE | length bytes of that connection ...
/// </code>
/// A frame is handed out as its bytes come, in pieces of at most <see cref="MaxPiece"/>: nothing waits for its end.
/// </remarks>
internal struct MultiplexReader
{
    internal const int HeaderSize = 8;

    /// <summary>NRI's bound: the largest ttrpc frame, its header of 10 bytes included.</summary>
    internal const int MaxLength = (4 << 20) + FrameHeader.Size;

    internal const int MaxPiece = 64 * 1024;

    private uint _id;
    private int _left;

    /// <summary>Whether no frame has been begun.</summary>
    internal readonly bool BetweenFrames => _left == 0;

    /// <summary>The next piece at the start of <paramref name="buffer"/>, which moves behind it.</summary>
    /// <returns>False when more bytes are needed.</returns>
    /// <exception cref="FrameFormatException">The length is over <see cref="MaxLength"/>.</exception>
    internal bool TryRead(ref ReadOnlySequence<byte> buffer, out uint id, out ReadOnlySequence<byte> piece)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        while (_left == 0)
        {
            if (buffer.Length < HeaderSize)
            {
                (id, piece) = (0, default);
                return false;
            }
            buffer.Slice(0, HeaderSize).CopyTo(header);
            var length = BinaryPrimitives.ReadUInt32BigEndian(header[4..]);
            if (length > MaxLength)
            {
                throw new FrameFormatException($"A multiplexed frame of {length} bytes: the limit is {MaxLength}.");
            }
            _id = BinaryPrimitives.ReadUInt32BigEndian(header);
            _left = (int)length;
            buffer = buffer.Slice(HeaderSize);
        }
        id = _id;
        piece = buffer.Slice(0, Math.Min(Math.Min(_left, MaxPiece), buffer.Length));
        buffer = buffer.Slice(piece.End);
        _left -= (int)piece.Length;
        return !piece.IsEmpty;
    }
}
