using System.Buffers;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class FrameReaderTests
{
    private const int Limit = 8;

    [Fact]
    public void Header_BytesOfTheSpec()
    {
        byte[] bytes = [0, 0, 1, 2, 0, 0, 0, 7, 3, 5];
        var header = FrameHeader.Read(bytes);
        Assert.Equal(new FrameHeader(0x102, 7, FrameType.Data, FrameFlags.EndStream), header);
        var written = new byte[FrameHeader.Size];
        header.Write(written);
        Assert.Equal(bytes, written);
    }

    [Fact]
    public void Frames_AtEverySegmentation_ComeOutWhole()
    {
        byte[] bytes =
        [
            .. RawPeer.Frame(1, FrameType.Request, 0, [1, 2, 3]),
            .. RawPeer.Frame(3, FrameType.Data, FrameFlags.EndStream, []),
            .. RawPeer.Frame(5, (FrameType)0x77, (FrameFlags)0xF0, [1, 2, 3, 4, 5, 6, 7, 8]), // the limit is inclusive
        ];
        foreach (var input in Segments.Every(bytes))
        {
            var buffer = input;
            var frames = ReadAll(new FrameReader(), ref buffer);
            Assert.True(buffer.IsEmpty);
            Assert.Equal([1u, 3u, 5u], frames.Select(f => f.Id));
            Assert.Equal([1, 2, 3], frames[0].Data);
            Assert.Empty(frames[1].Data);
            Assert.Equal(8, frames[2].Data.Length);
        }
    }

    [Fact]
    public void Frames_ByteByByte_NeverComeEarly()
    {
        var bytes = RawPeer.Frame(1, FrameType.Response, 0, [9, 9]);
        var reader = new FrameReader();
        for (var length = 0; length < bytes.Length; length++)
        {
            var buffer = new ReadOnlySequence<byte>(bytes, 0, length);
            Assert.False(reader.TryRead(ref buffer, Limit, out _));
            Assert.Equal(length, buffer.Length);
        }
    }

    [Fact]
    public void OversizeFrame_IsReportedFromItsHeaderAndDiscardedPieceByPiece()
    {
        byte[] bytes = [.. RawPeer.Frame(1, FrameType.Request, 0, new byte[9]), .. RawPeer.Frame(3, FrameType.Data, 0, [4])];
        foreach (var cut in Enumerable.Range(0, bytes.Length))
        {
            var reader = new FrameReader();
            var first = new ReadOnlySequence<byte>(bytes, 0, cut);
            var frames = ReadAll(reader, ref first);
            if (cut is >= FrameHeader.Size and < FrameHeader.Size + 9)
            {
                Assert.True(frames is [{ Oversized: true, Id: 1 }]);
                Assert.True(first.IsEmpty, "the body must not be kept");
                Assert.False(reader.BetweenFrames);
            }
            var rest = new ReadOnlySequence<byte>(bytes, cut - (int)first.Length, bytes.Length - cut + (int)first.Length);
            frames.AddRange(ReadAll(reader, ref rest));
            Assert.Equal([1u, 3u], frames.Select(f => f.Id));
            Assert.Equal([4], frames[1].Data);
        }
    }

    [Fact]
    public void LengthOfMoreThanThreeBytes_IsNoTtrpc()
    {
        var buffer = new ReadOnlySequence<byte>("GET / HTTP/1.1\r\n"u8.ToArray());
        Assert.Throws<FrameFormatException>(() => new FrameReader().TryRead(ref buffer, Limit, out _));
    }

    private static List<(uint Id, bool Oversized, byte[] Data)> ReadAll(FrameReader reader, ref ReadOnlySequence<byte> buffer)
    {
        var frames = new List<(uint, bool, byte[])>();
        while (reader.TryRead(ref buffer, Limit, out var frame))
        {
            frames.Add((frame.StreamId, frame.Oversized, frame.Data.ToArray()));
        }
        return frames;
    }
}
