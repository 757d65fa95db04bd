using System.Buffers;
using CsCheck;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class FrameProperties
{
    private const int Limit = 40;

    private static readonly Gen<RawFrame> AnyFrame = Gen.Select(
        Gen.UInt, Gen.Byte, Gen.Byte, Gen.Byte.Array[0, Limit + 3],
        static (id, type, flags, data) => new RawFrame(id, (FrameType)type, (FrameFlags)flags, data));

    [Fact]
    public void Frames_InAnyPieces_ComeOutAsTheyWentIn() =>
        Gen.Select(AnyFrame.Array[0, 6], Gen.Int[0, 300].Array[0, 20]).Sample((frames, cuts) =>
        {
            byte[] bytes = [.. frames.SelectMany(frame => RawPeer.Frame(frame.Id, frame.Type, frame.Flags, frame.Data))];
            var found = ReadAsTheyCome(bytes, cuts, out var reader);
            Assert.Equal(frames.Length, found.Count);
            foreach (var (frame, (header, oversized, data)) in frames.Zip(found))
            {
                Assert.Equal(new FrameHeader((uint)frame.Data.Length, frame.Id, frame.Type, frame.Flags), header);
                Assert.Equal(frame.Data.Length > Limit, oversized);
                Assert.Equal(oversized ? [] : frame.Data, data);
            }
            Assert.True(reader.BetweenFrames);
        }, iter: Arbitrary.Cases);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(Limit - 1)]
    [InlineData(Limit)]
    [InlineData(Limit + 1)]
    [InlineData(FrameReader.MaxLength)]
    public void Length_AroundTheLimits(int length)
    {
        var header = new byte[FrameHeader.Size];
        new FrameHeader((uint)length, 1, FrameType.Data, 0).Write(header);
        var reader = new FrameReader();
        var buffer = new ReadOnlySequence<byte>(header);
        Assert.Equal(length is 0 or > Limit, reader.TryRead(ref buffer, Limit, out var frame));
        Assert.Equal(length > Limit, frame.Oversized);
        Assert.Equal(length <= Limit, reader.BetweenFrames);
    }

    [Fact]
    public void Length_OfMoreThanThreeBytes_IsRefusedInAnyPieces() =>
        Gen.Select(Gen.UInt[FrameReader.MaxLength + 1, uint.MaxValue], Arbitrary.Cuts).Sample((length, cuts) =>
        {
            var header = new byte[FrameHeader.Size];
            new FrameHeader(length, 1, FrameType.Data, 0).Write(header);
            Assert.Throws<FrameFormatException>(() => ReadAsTheyCome(header, cuts, out _));
        }, iter: Arbitrary.Cases);

    // As FrameLoop and a pipe do: what is left is offered again with the next piece.
    private static List<(FrameHeader Header, bool Oversized, byte[] Data)> ReadAsTheyCome(byte[] bytes, int[] cuts, out FrameReader reader)
    {
        reader = new FrameReader();
        var frames = new List<(FrameHeader, bool, byte[])>();
        var all = Segments.Cut(bytes, cuts);
        var consumed = 0L;
        foreach (var end in cuts.Select(cut => Math.Min(cut, bytes.Length)).Order().Append(bytes.Length))
        {
            var buffer = all.Slice(consumed, end - consumed);
            while (reader.TryRead(ref buffer, Limit, out var frame))
            {
                frames.Add((frame.Header, frame.Oversized, frame.Data.ToArray()));
            }
            Assert.True(buffer.Length < FrameHeader.Size + Limit, "more is kept than a frame");
            consumed = end - buffer.Length;
        }
        Assert.Equal(bytes.Length, consumed);
        return frames;
    }
}
