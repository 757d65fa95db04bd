using System.Buffers;

namespace Kuasar.Protocol.Framing;

/// <summary>One frame as it lies in the receive buffer: <see cref="Data"/> dies with the reader's next AdvanceTo.</summary>
/// <param name="Header">The ten bytes.</param>
/// <param name="Data">The data; empty when <paramref name="Oversized"/>.</param>
/// <param name="Oversized">The header announces more than the limit; the reader throws the data away as it comes.</param>
internal readonly record struct Frame(FrameHeader Header, ReadOnlySequence<byte> Data, bool Oversized)
{
    internal uint StreamId => Header.StreamId;
    internal FrameType Type => Header.Type;

    /// <summary>"A zero-length DATA without 0x04 is an empty message, not an end."</summary>
    internal bool HasMessage => (Header.Flags & FrameFlags.NoData) == 0;
    internal bool EndsStream => (Header.Flags & FrameFlags.RemoteClosed) != 0;
}
