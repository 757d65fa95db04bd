using System.Buffers;
using Google.Protobuf;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Framing;

/// <summary>A response frame's data, taken apart in place; the payload dies with the receive buffer.</summary>
internal readonly struct ResponseEnvelope
{
    private const int StatusField = 1;
    private const int PayloadField = 2;

    /// <summary>Null when the response is OK: Go leaves the field out, Rust sends an empty one.</summary>
    internal RpcStatus? Error { get; private init; }

    internal ReadOnlySequence<byte> Payload { get; private init; }

    /// <exception cref="InvalidDataException">The bytes are no Response.</exception>
    /// <exception cref="InvalidProtocolBufferException">Its status is no Status.</exception>
    internal static ResponseEnvelope Parse(in ReadOnlySequence<byte> data)
    {
        RpcStatus? status = null;
        ReadOnlySequence<byte> payload = default;
        var reader = new FieldReader(data);
        while (reader.TryReadTag(out var field, out var wireType))
        {
            switch (field, wireType)
            {
                case (StatusField, FieldReader.Delimited):
                    Merge(ref status, reader.ReadBytes());
                    break;
                case (PayloadField, FieldReader.Delimited):
                    payload = reader.ReadBytes();
                    break;
                default:
                    reader.Skip(wireType);
                    break;
            }
        }
        return new() { Error = status is { Code: not 0 } ? status : null, Payload = payload };
    }

    // A message field that comes twice is merged, says protobuf.
    private static void Merge(ref RpcStatus? status, in ReadOnlySequence<byte> bytes)
    {
        if (!bytes.IsEmpty)
        {
            (status ??= new()).MergeFrom(bytes);
        }
    }
}
