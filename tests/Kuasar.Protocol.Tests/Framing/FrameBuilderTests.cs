using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class FrameBuilderTests
{
    private static readonly Marshaller<string> ByArray = Marshallers.Create(
        s => System.Text.Encoding.UTF8.GetBytes(s), System.Text.Encoding.UTF8.GetString);

    private readonly OutputBuffer _buffer = new();
    private readonly FrameBuilder _frame = new(limit: 100);

    [Fact]
    public void Message_Bare_IsTheWholeData()
    {
        Write(FrameType.Data, 0, "hello");
        Assert.Equal(RawPeer.Frame(7, FrameType.Data, 0, "hello"u8), _buffer.Written.ToArray());
    }

    [Fact]
    public void Message_InEnvelope_IsWhatProtobufWouldWrite()
    {
        Write(FrameType.Response, 0x12, "hello");
        var expected = new Response { Payload = ByteString.CopyFromUtf8("hello") }.ToByteArray();
        Assert.Equal(RawPeer.Frame(7, FrameType.Response, 0, expected), _buffer.Written.ToArray());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Message_ByBufferWriter_MeasuredOrNot(bool measured)
    {
        var message = new EchoMessage { Text = "x", Number = 3 };
        var marshaller = new Marshaller<EchoMessage>((m, context) =>
        {
            if (measured)
            {
                context.SetPayloadLength(m.CalculateSize());
            }
            m.WriteTo(context.GetBufferWriter());
            context.Complete();
        }, _ => throw new NotSupportedException());
        _frame.Begin(_buffer, FrameType.Data, 0, 7);
        _frame.WriteMessage(0, marshaller, message);
        _frame.End();
        Assert.Equal(RawPeer.Frame(7, FrameType.Data, 0, message.ToByteArray()), _buffer.Written.ToArray());
    }

    [Fact]
    public void Message_OverTheLimit_LeavesNothingBehind()
    {
        Write(FrameType.Data, 0, "first");
        var length = _buffer.Length;
        _frame.Begin(_buffer, FrameType.Data, 0, 9);
        Assert.Throws<MessageTooLargeException>(() => _frame.WriteMessage(0, ByArray, new string('x', 101)));
        _frame.Cancel();
        Assert.Equal(length, _buffer.Length);
        Write(FrameType.Data, 0, new string('x', 100));
    }

    [Fact]
    public void Message_OfAnotherLengthThanAnnounced_IsRefused()
    {
        var liar = new Marshaller<string>((_, context) =>
        {
            context.SetPayloadLength(3);
            context.GetBufferWriter().Advance(0);
            context.Complete();
        }, _ => "");
        _frame.Begin(_buffer, FrameType.Data, 0, 9);
        Assert.Throws<InvalidOperationException>(() => _frame.WriteMessage(0, liar, ""));
    }

    [Fact]
    public void Request_IsWhatProtobufReads()
    {
        var method = new Method<string, string>(MethodType.Unary, "a.B", "C", ByArray, ByArray);
        _frame.Begin(_buffer, FrameType.Request, FrameFlags.RemoteClosed, 1);
        _frame.WriteBytes(RequestWriter.NameOf(method));
        RequestWriter.WriteTimeout(_frame, 1_000);
        RequestWriter.WriteHeaders(_frame, new Metadata { { "k", "ä" }, { "k", "" } });
        _frame.WriteMessage(RequestWriter.PayloadTag, ByArray, "p");
        _frame.End();
        var request = Request.Parser.ParseFrom(_buffer.Written.Span[FrameHeader.Size..]);
        var expected = new Request
        {
            Service = "a.B",
            Method = "C",
            Payload = ByteString.CopyFromUtf8("p"),
            TimeoutNano = 1_000,
            Metadata = { new KeyValue { Key = "k", Value = "ä" }, new KeyValue { Key = "k" } },
        };
        Assert.Equal(expected, request);
    }

    private void Write(FrameType type, byte tag, string message)
    {
        _frame.Begin(_buffer, type, 0, 7);
        _frame.WriteMessage(tag, ByArray, message);
        _frame.End();
    }
}
