using System.Buffers;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// Cuts a byte stream into frames. No I/O and no buffer of its own: one per connection, because the rest of an oversize
/// frame is thrown away piece by piece and never gathered.
/// </summary>
internal sealed class FrameReader
{
    /// <summary>PROTOCOL.md reserves the first length byte: 0 on every real frame, so anything else is no ttrpc.</summary>
    internal const int MaxLength = 0x00FF_FFFF;

    private long _discard;

    /// <summary>Whether the stream stands between two frames, where a peer may close it.</summary>
    internal bool BetweenFrames => _discard == 0;

    /// <summary>How many bytes, those here included, the frame at the front needs to be whole; 0 when that is not known yet.</summary>
    internal int Wanted(ReadOnlySpan<byte> rest) =>
        _discard == 0 && rest.Length >= FrameHeader.Size ? FrameHeader.Size + (int)FrameHeader.Read(rest).Length : 0;

    /// <summary>Takes one frame off the front. False: more bytes are needed, and what is left must be offered again.</summary>
    /// <exception cref="FrameFormatException">The bytes are not ttrpc; the connection cannot be saved.</exception>
    internal bool TryRead(ref ReadOnlySequence<byte> buffer, int limit, out Frame frame)
    {
        frame = default;
        if (_discard > 0 && !Discard(ref buffer))
        {
            return false;
        }
        if (!FrameHeader.TryRead(buffer, out var header))
        {
            return false;
        }
        if (header.Length > MaxLength)
        {
            throw new FrameFormatException($"A frame announces {header.Length} bytes; the peer does not speak ttrpc.");
        }
        // The header decides: an oversize frame is answered before its body has come.
        if (header.Length > limit)
        {
            buffer = buffer.Slice(FrameHeader.Size);
            _discard = header.Length;
            frame = new Frame(header, default, Oversized: true);
            return true;
        }
        if (buffer.Length - FrameHeader.Size < header.Length)
        {
            return false;
        }
        frame = new Frame(header, buffer.Slice(FrameHeader.Size, header.Length), Oversized: false);
        buffer = buffer.Slice(FrameHeader.Size + (long)header.Length);
        return true;
    }

    private bool Discard(ref ReadOnlySequence<byte> buffer)
    {
        var count = Math.Min(_discard, buffer.Length);
        buffer = buffer.Slice(count);
        _discard -= count;
        return _discard == 0;
    }
}
