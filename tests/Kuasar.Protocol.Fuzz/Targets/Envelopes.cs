using System.Buffers;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Fuzz.Engine;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>Our reading of envelopes beside Google.Protobuf's, whole and in pieces.</summary>
internal static class Envelopes
{
    private const int MetadataField = 5;

    internal static void Check(Plan plan)
    {
        var whole = new ReadOnlySequence<byte>(plan.Bytes);
        CheckRequest(plan.Bytes, ReadRequest(whole), ReadRequest(plan.Segmented()));
        CheckResponse(plan.Bytes, ReadResponse(whole), ReadResponse(plan.Segmented()));
    }

    private static void CheckRequest(byte[] bytes, RequestView? ours, RequestView? inPieces)
    {
        FuzzFailure.Unless(ours == inPieces, $"a request in pieces is {inPieces}, whole it is {ours}");
        var theirs = Parse(Request.Parser, bytes);
        if (ours is null)
        {
            FuzzFailure.Unless(theirs is null || PlainFields.Read(bytes, inside: MetadataField).Odd, $"refused, and protobuf reads {theirs}");
            return;
        }
        if (theirs is null)
        {
            // Names are compared as bytes and decoded only for a message, so these are found later.
            FuzzFailure.Unless(PlainFields.Read(bytes, inside: MetadataField).BadNames, $"protobuf refuses what was read as {ours}");
            return;
        }
        var headers = new Metadata();
        foreach (var pair in theirs.Metadata)
        {
            if (pair.Key.Length > 0 && pair.Key.All(IsKeyChar) && !pair.Key.EndsWith("-bin", StringComparison.OrdinalIgnoreCase))
            {
                headers.Add(pair.Key, pair.Value);
            }
        }
        var expected = new RequestView(
            theirs.Service, theirs.Method, Convert.ToHexString(theirs.Payload.Span), theirs.TimeoutNano, Show(headers));
        FuzzFailure.Unless(ours == expected, $"read {ours}, protobuf reads {expected}");
    }

    private static void CheckResponse(byte[] bytes, ResponseView? ours, ResponseView? inPieces)
    {
        FuzzFailure.Unless(ours == inPieces, $"a response in pieces is {inPieces}, whole it is {ours}");
        var theirs = Parse(Response.Parser, bytes);
        if (ours is null || theirs is null)
        {
            FuzzFailure.Unless(ours is null && (theirs is null || PlainFields.Read(bytes, inside: 0).Odd), $"read {ours}, protobuf reads {theirs}");
            return;
        }
        var error = theirs.Status is { Code: not 0 } status ? status : null;
        var expected = new ResponseView(error, Convert.ToHexString(theirs.Payload.Span));
        FuzzFailure.Unless(ours == expected, $"read {ours}, protobuf reads {expected}");
    }

    private static RequestView? ReadRequest(in ReadOnlySequence<byte> data)
    {
        try
        {
            var request = RequestEnvelope.Parse(data);
            return new RequestView(
                Encoding.UTF8.GetString(request.Service), Encoding.UTF8.GetString(request.Method),
                Convert.ToHexString(request.Payload.ToArray()), request.TimeoutNano, Show(request.Headers));
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    private static ResponseView? ReadResponse(in ReadOnlySequence<byte> data)
    {
        try
        {
            var response = ResponseEnvelope.Parse(data);
            if (response.Error is { } error)
            {
                // What a caller gets of it.
                WireStatus.ToStatus(error);
                var exception = new RpcException(WireStatus.ToStatus(error), WireStatus.TrailersOf(error));
                var back = WireStatus.FromException(exception);
                FuzzFailure.Unless(
                    error.Code is < 0 or > 16 || back.Equals(WithoutUnknown(error)), $"{error} came back as {back}");
            }
            return new ResponseView(response.Error, Convert.ToHexString(response.Payload.ToArray()));
        }
        catch (Exception error) when (error is InvalidDataException or InvalidProtocolBufferException)
        {
            return null;
        }
    }

    private static RpcStatus WithoutUnknown(RpcStatus status) =>
        new() { Code = status.Code, Message = status.Message, Details = { status.Details } };

    private static T? Parse<T>(MessageParser<T> parser, byte[] bytes) where T : class, IMessage<T>
    {
        try
        {
            return parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }
    }

    private static bool IsKeyChar(char c) => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.';

    private static string Show(Metadata? headers) =>
        string.Join('\n', (headers ?? []).Select(header => $"{header.Key}: {header.Value}"));

    private sealed record RequestView(string Service, string Method, string Payload, long TimeoutNano, string Headers);

    private sealed record ResponseView(RpcStatus? Error, string Payload);
}
