using System.Buffers;
using CsCheck;
using Google.Protobuf;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class FieldReaderTests
{
    // Field 1 varint max, 2 text, 3 fixed64, 4 fixed32, 536870911 (the highest) empty bytes.
    private static readonly byte[] Sample = Arbitrary.Write(output =>
    {
        output.WriteTag(1, WireFormat.WireType.Varint);
        output.WriteUInt64(ulong.MaxValue);
        output.WriteTag(2, WireFormat.WireType.LengthDelimited);
        output.WriteString("ä😀");
        output.WriteTag(3, WireFormat.WireType.Fixed64);
        output.WriteFixed64(5);
        output.WriteTag(4, WireFormat.WireType.Fixed32);
        output.WriteFixed32(6);
        output.WriteTag(0x1FFF_FFFF, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(ByteString.Empty);
    });

    [Fact]
    public void Fields_AtEverySegmentation()
    {
        foreach (var input in Segments.Every(Sample))
        {
            var reader = new FieldReader(input);
            Assert.Equal((1, FieldReader.Varint), Tag(ref reader));
            Assert.Equal(ulong.MaxValue, reader.ReadVarint());
            Assert.Equal((2, FieldReader.Delimited), Tag(ref reader));
            Assert.Equal("ä😀", reader.ReadString());
            Assert.Equal((3, 1), Tag(ref reader));
            reader.Skip(1);
            Assert.Equal((4, 5), Tag(ref reader));
            reader.Skip(5);
            Assert.Equal((0x1FFF_FFFF, FieldReader.Delimited), Tag(ref reader));
            Assert.True(reader.ReadBytes().IsEmpty);
            Assert.False(reader.TryReadTag(out _, out _));
        }
    }

    [Fact]
    public void CutShort_AtEverySegmentation_IsInvalid()
    {
        // Ends within every field, and what is there in two pieces cut anywhere.
        for (var length = 0; length < Sample.Length; length++)
        {
            var whole = 0;
            for (var cut = 0; cut <= length; cut++)
            {
                whole += TryWalk(Segments.Cut(Sample[..length], cut)) ? 1 : 0;
            }
            Assert.True(whole == 0 || whole == length + 1, $"{whole} of {length + 1} ways to cut the first {length} bytes are read");
        }
    }

    [Fact]
    public void Numbers_ReadAsProtobufWritesThem() => Gen.Select(Gen.ULong, Arbitrary.Cuts).Sample((number, cuts) =>
    {
        var bytes = Arbitrary.Write(output => output.WriteUInt64(number));
        var reader = new FieldReader(Segments.Cut(bytes, cuts));
        return reader.ReadVarint() == number;
    }, iter: Arbitrary.Cases);

    [Fact]
    public void AnyBytes_EndOrAreInvalid_TheSameInAnyPieces() => Gen.Select(Arbitrary.Bytes, Arbitrary.Cuts).Sample((bytes, cuts) =>
        TryWalk(new ReadOnlySequence<byte>(bytes)) == TryWalk(Segments.Cut(bytes, cuts)), iter: Arbitrary.Cases);

    private static bool TryWalk(in ReadOnlySequence<byte> input)
    {
        var reader = new FieldReader(input);
        try
        {
            while (reader.TryReadTag(out _, out var wireType))
            {
                reader.Skip(wireType);
            }
            return true;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private static (int Field, int WireType) Tag(ref FieldReader reader)
    {
        Assert.True(reader.TryReadTag(out var field, out var wireType));
        return (field, wireType);
    }
}
