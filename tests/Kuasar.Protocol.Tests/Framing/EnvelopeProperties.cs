using System.Buffers;
using System.Text;
using CsCheck;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;
using Kuasar.Protocol.Transport;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Tests.Framing;

/// <summary>Envelopes to and from Google.Protobuf's classes, which are the second opinion.</summary>
public sealed class EnvelopeProperties
{
    private static readonly Marshaller<byte[]> Plain = Marshallers.Create(static bytes => bytes, static bytes => bytes);

    [Fact]
    public void Request_OfProtobuf_IsReadInAnyPieces() => Gen.Select(Arbitrary.Requests, Arbitrary.Cuts).Sample((request, cuts) =>
        CheckRequest(request, RequestEnvelope.Parse(Segments.Cut(request.ToByteArray(), cuts))), iter: Arbitrary.Cases);

    [Fact]
    public void Request_InPartsOfAnyOrder_IsWhatProtobufReads() =>
        Gen.Select(Arbitrary.Parts(Arbitrary.Requests), Arbitrary.Cuts).Sample((bytes, cuts) =>
            CheckRequest(Request.Parser.ParseFrom(bytes), RequestEnvelope.Parse(Segments.Cut(bytes, cuts))), iter: Arbitrary.Cases);

    [Fact]
    public void Request_OfOurs_IsWhatProtobufReads() => Arbitrary.Requests.Sample(request =>
    {
        var method = new Method<byte[], byte[]>(MethodType.Unary, request.Service, request.Method, Plain, Plain);
        var headers = new Metadata();
        foreach (var pair in request.Metadata.Where(pair => IsHeaderKey(pair.Key)))
        {
            headers.Add(pair.Key, pair.Value);
        }
        var buffer = new OutputBuffer();
        var frame = new FrameBuilder(int.MaxValue);
        frame.Begin(buffer, FrameType.Request, 0, 1);
        frame.WriteBytes(RequestWriter.NameOf(method));
        RequestWriter.WriteTimeout(frame, request.TimeoutNano);
        RequestWriter.WriteHeaders(frame, headers);
        frame.WriteMessage(RequestWriter.PayloadTag, Plain, request.Payload.ToByteArray());
        frame.End();
        var read = Request.Parser.ParseFrom(buffer.Written.Span[FrameHeader.Size..]);
        var expected = request.Clone();
        expected.Metadata.Clear();
        expected.Metadata.AddRange(headers.Select(header => new KeyValue { Key = header.Key, Value = header.Value }));
        Assert.Equal(expected, read);
        // And what we write we read.
        CheckRequest(read, RequestEnvelope.Parse(new ReadOnlySequence<byte>(buffer.Written[FrameHeader.Size..])));
    }, iter: Arbitrary.Cases);

    [Fact]
    public void Response_OfProtobuf_IsReadInAnyPieces() => Gen.Select(Arbitrary.Responses, Arbitrary.Cuts).Sample((response, cuts) =>
        CheckResponse(response, ResponseEnvelope.Parse(Segments.Cut(response.ToByteArray(), cuts))), iter: Arbitrary.Cases);

    [Fact]
    public void Response_InPartsOfAnyOrder_IsMergedAsProtobufDoes() =>
        Gen.Select(Arbitrary.Parts(Arbitrary.Responses), Arbitrary.Cuts).Sample((bytes, cuts) =>
            CheckResponse(Response.Parser.ParseFrom(bytes), ResponseEnvelope.Parse(Segments.Cut(bytes, cuts))), iter: Arbitrary.Cases);

    [Fact]
    public void Response_OfOurs_IsWhatProtobufReads() => Gen.Select(Arbitrary.Statuses, Arbitrary.ByteStrings).Sample((status, payload) =>
    {
        var (buffer, frame) = (new OutputBuffer(), new FrameBuilder(int.MaxValue));
        frame.Begin(buffer, FrameType.Response, 0, 1);
        frame.WriteMessage(FrameWriter.StatusTag, status);
        frame.WriteMessage(FrameWriter.ResponsePayloadTag, Plain, payload.ToByteArray());
        frame.End();
        Assert.Equal(
            new Response { Status = status, Payload = payload }, Response.Parser.ParseFrom(buffer.Written.Span[FrameHeader.Size..]));
    }, iter: Arbitrary.Cases);

    [Fact]
    public void Status_ThroughGrpcsErrorAndBack_IsTheSame() => Arbitrary.Statuses.Sample(status =>
    {
        var error = new RpcException(WireStatus.ToStatus(status), WireStatus.TrailersOf(status));
        var back = WireStatus.FromException(error);
        Assert.Equal(status.Message, back.Message);
        if (status.Code is > 0 and <= 16)
        {
            Assert.Equal(status, back);
        }
        else
        {
            Assert.Equal((int)StatusCode.Unknown, back.Code);
        }
    }, iter: Arbitrary.Cases);

    [Fact]
    public void Status_Shortened_FitsAnyLimit() => Gen.Select(
        Arbitrary.Statuses, Gen.OneOf("x", "語", "😀"), Gen.Int[WireStatus.MinMessageSize, 5000]).Sample((status, text, limit) =>
    {
        var longer = new RpcStatus(status) { Message = status.Message + string.Concat(Enumerable.Repeat(text, limit)) };
        var shortened = WireStatus.Shorten(longer, limit);
        Assert.Equal(status.Code, shortened.Code);
        Assert.InRange(new Response { Status = shortened }.CalculateSize(), 1, limit);
    }, iter: Arbitrary.Cases);

    [Fact]
    public void Request_AnyBytes_AreReadOrInvalid_TheSameInAnyPieces() => Gen.Select(Arbitrary.Bytes, Arbitrary.Cuts).Sample((bytes, cuts) =>
    {
        static string? Read(in ReadOnlySequence<byte> data)
        {
            try
            {
                return Show(RequestEnvelope.Parse(data));
            }
            catch (InvalidDataException)
            {
                return null;
            }
        }
        Assert.Equal(Read(new(bytes)), Read(Segments.Cut(bytes, cuts)));
    }, iter: Arbitrary.Cases);

    private static void CheckRequest(Request expected, in RequestEnvelope read)
    {
        Assert.Equal(expected.Service, Encoding.UTF8.GetString(read.Service));
        Assert.Equal(expected.Method, Encoding.UTF8.GetString(read.Method));
        Assert.Equal(expected.Payload.ToByteArray(), read.Payload.ToArray());
        Assert.Equal(expected.TimeoutNano, read.TimeoutNano);
        // Every key that gRPC can hold, in order, and no other.
        Assert.Equal(
            expected.Metadata.Where(pair => IsHeaderKey(pair.Key)).Select(pair => (pair.Key.ToLowerInvariant(), pair.Value)),
            (read.Headers ?? []).Select(header => (header.Key, header.Value)));
    }

    private static void CheckResponse(Response expected, in ResponseEnvelope read)
    {
        Assert.Equal(expected.Status is { Code: not 0 } status ? status : null, read.Error);
        Assert.Equal(expected.Payload.ToByteArray(), read.Payload.ToArray());
    }

    private static string Show(RequestEnvelope read) =>
        $"{Convert.ToHexString(read.Service.ToArray())} {Convert.ToHexString(read.Method.ToArray())} "
        + $"{Convert.ToHexString(read.Payload.ToArray())} {read.TimeoutNano} {string.Join(' ', read.Headers ?? [])}";

    /// <summary>By gRPC itself.</summary>
    private static bool IsHeaderKey(string key)
    {
        try
        {
            // gRPC takes the empty key; HTTP has none, and neither have we.
            return key.Length > 0 && !new Metadata.Entry(key, "").IsBinary;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }
}
