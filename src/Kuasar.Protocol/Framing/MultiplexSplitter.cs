namespace Kuasar.Protocol.Framing;

/// <summary>Decides where the bytes of one inner connection are cut into multiplexed frames.</summary>
/// <remarks>
/// NRI's Go reader hands out one whole frame per read, and fails when it is larger than the buffer it was given. Go's ttrpc
/// reads through a buffer of 4096 bytes, past which it goes only for the rest of a body whose header it has seen. So a frame
/// is small, or lies within one body. Bytes that are no ttrpc come to no harm: only the cuts depend on them.
/// </remarks>
internal sealed class MultiplexSplitter
{
    internal const int SmallFrame = 4096;

    private uint _length;
    private int _header;
    private uint _body;

    /// <summary>How many of these bytes, which are not empty, make the next frame; they count as sent.</summary>
    internal int Next(ReadOnlySpan<byte> bytes)
    {
        if (_body >= SmallFrame)
        {
            var large = (int)Math.Min(Math.Min((uint)bytes.Length, _body), MultiplexReader.MaxLength);
            _body -= (uint)large;
            return large;
        }
        var small = Math.Min(bytes.Length, SmallFrame);
        Follow(bytes[..small]);
        return small;
    }

    private void Follow(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (_body > 0)
            {
                var body = (int)Math.Min(_body, (uint)bytes.Length);
                _body -= (uint)body;
                bytes = bytes[body..];
                continue;
            }
            if (_header < sizeof(uint))
            {
                _length = (_length << 8) | bytes[0];
            }
            bytes = bytes[1..];
            if (++_header == FrameHeader.Size)
            {
                (_body, _length, _header) = (_length, 0, 0);
            }
        }
    }
}
