using System.Buffers;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class EnvelopeTests
{
    private static readonly Request Sample = new()
    {
        Service = "a.B",
        Method = "C",
        Payload = ByteString.CopyFrom(1, 2, 3),
        TimeoutNano = -5,
        Metadata = { new KeyValue { Key = "Some-Key", Value = "ä" }, new KeyValue { Key = "some-key", Value = "2" } },
    };

    [Fact]
    public void Request_AtEverySegmentation()
    {
        foreach (var input in Segments.Every(Sample.ToByteArray()))
        {
            var request = RequestEnvelope.Parse(input);
            Assert.Equal("a.B"u8, request.Service.ToArray());
            Assert.Equal("C"u8, request.Method.ToArray());
            Assert.Equal([1, 2, 3], request.Payload.ToArray());
            Assert.Equal(-5, request.TimeoutNano);
            Assert.Equal([("some-key", "ä"), ("some-key", "2")], request.Headers!.Select(h => (h.Key, h.Value)));
        }
    }

    [Fact]
    public void Request_HeadersThatGrpcCannotHold_AreLeftOut()
    {
        var request = new Request
        {
            Metadata =
            {
                new KeyValue { Key = "x-bin", Value = "v" }, new KeyValue { Key = "with space", Value = "v" },
                new KeyValue { Value = "v" }, new KeyValue { Key = "good", Value = "v" },
            },
        };
        Assert.Equal(["good"], RequestEnvelope.Parse(new(request.ToByteArray())).Headers!.Select(h => h.Key));
    }

    [Theory]
    [InlineData(new byte[] { 0x0A })] // no length
    [InlineData(new byte[] { 0x0A, 5, 1 })] // short field
    [InlineData(new byte[] { 0x20, 0x80 })] // cut varint
    [InlineData(new byte[] { 0x20, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1 })] // varint of 11 bytes
    [InlineData(new byte[] { 0x00 })] // field 0
    [InlineData(new byte[] { 0x33 })] // a group
    [InlineData(new byte[] { 0x31, 1, 2 })] // short fixed64
    [InlineData(new byte[] { 0x2A, 2, 0x0A, 9 })] // bad metadata inside
    [InlineData(new byte[] { 0x2A, 3, 0x0A, 1, 0xFF })] // no UTF-8
    public void Request_Malformed_IsRefused(byte[] bytes) =>
        Assert.Throws<InvalidDataException>(() => RequestEnvelope.Parse(new(bytes)));

    [Fact]
    public void Request_UnknownFieldsAndAnyOrder_AreRead()
    {
        byte[] bytes = [0x1A, 1, 7, 0x40, 1, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x55, 1, 2, 3, 4, 0x5A, 1, 0, 0x1A, 2, 8, 9, 0x0A, 1, 65];
        var request = RequestEnvelope.Parse(new(bytes));
        Assert.Equal([8, 9], request.Payload.ToArray());
        Assert.Equal([65], request.Service.ToArray());
    }

    [Fact]
    public void Request_AnyBytes_FailOnlyAsInvalidData()
    {
        var random = new Random(1);
        var sample = Sample.ToByteArray();
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = (byte[])sample.Clone();
            for (var n = random.Next(1, 4); n > 0; n--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }
            try
            {
                RequestEnvelope.Parse(new(bytes));
            }
            catch (InvalidDataException)
            {
            }
        }
    }

    [Fact]
    public void Response_AbsentAndEmptyStatus_AreBothOk()
    {
        Assert.Null(ResponseEnvelope.Parse(new([0x12, 1, 5])).Error);
        var rust = ResponseEnvelope.Parse(new([0x0A, 0, 0x12, 1, 5]));
        Assert.Null(rust.Error);
        Assert.Equal([5], rust.Payload.ToArray());
        Assert.Null(ResponseEnvelope.Parse(default).Error);
    }

    [Theory]
    [InlineData(5, StatusCode.NotFound)]
    [InlineData(16, StatusCode.Unauthenticated)]
    [InlineData(17, StatusCode.Unknown)]
    [InlineData(-1, StatusCode.Unknown)]
    public void Response_Codes(int code, StatusCode expected)
    {
        var bytes = new Response { Status = new() { Code = code, Message = "m" } }.ToByteArray();
        var status = WireStatus.ToStatus(ResponseEnvelope.Parse(new(bytes)).Error!);
        Assert.Equal((expected, "m"), (status.StatusCode, status.Detail));
    }
}
