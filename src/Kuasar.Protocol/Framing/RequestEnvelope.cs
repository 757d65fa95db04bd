using System.Buffers;
using Grpc.Core;

namespace Kuasar.Protocol.Framing;

/// <summary>A request frame's data, taken apart in place; the sequences die with the receive buffer.</summary>
internal readonly struct RequestEnvelope
{
    private const int ServiceField = 1;
    private const int MethodField = 2;
    private const int PayloadField = 3;
    private const int TimeoutField = 4;
    private const int MetadataField = 5;
    private const int KeyField = 1;
    private const int ValueField = 2;

    internal ReadOnlySequence<byte> Service { get; private init; }
    internal ReadOnlySequence<byte> Method { get; private init; }
    internal ReadOnlySequence<byte> Payload { get; private init; }

    /// <summary>Time left in nanoseconds; 0 is none, negative is over.</summary>
    internal long TimeoutNano { get; private init; }

    /// <summary>Null when there is none.</summary>
    internal Metadata? Headers { get; private init; }

    /// <exception cref="InvalidDataException">The bytes are no Request.</exception>
    internal static RequestEnvelope Parse(in ReadOnlySequence<byte> data)
    {
        ReadOnlySequence<byte> service = default, method = default, payload = default;
        long timeout = 0;
        Metadata? headers = null;
        var reader = new FieldReader(data);
        // Fields come in any order, and of a repeated scalar the last one counts.
        while (reader.TryReadTag(out var field, out var wireType))
        {
            switch (field, wireType)
            {
                case (ServiceField, FieldReader.Delimited):
                    service = reader.ReadBytes();
                    break;
                case (MethodField, FieldReader.Delimited):
                    method = reader.ReadBytes();
                    break;
                case (PayloadField, FieldReader.Delimited):
                    payload = reader.ReadBytes();
                    break;
                case (TimeoutField, FieldReader.Varint):
                    timeout = (long)reader.ReadVarint();
                    break;
                case (MetadataField, FieldReader.Delimited):
                    AddHeader(ref headers, reader.ReadBytes());
                    break;
                default:
                    reader.Skip(wireType);
                    break;
            }
        }
        return new() { Service = service, Method = method, Payload = payload, TimeoutNano = timeout, Headers = headers };
    }

    private static void AddHeader(ref Metadata? headers, in ReadOnlySequence<byte> pair)
    {
        string key = "", value = "";
        var reader = new FieldReader(pair);
        while (reader.TryReadTag(out var field, out var wireType))
        {
            switch (field, wireType)
            {
                case (KeyField, FieldReader.Delimited):
                    key = reader.ReadString();
                    break;
                case (ValueField, FieldReader.Delimited):
                    value = reader.ReadString();
                    break;
                default:
                    reader.Skip(wireType);
                    break;
            }
        }
        // ttrpc takes any key, gRPC's Metadata does not: what it cannot hold is left out rather than failing the call.
        if (IsHeaderKey(key))
        {
            (headers ??= []).Add(key, value);
        }
    }

    private static bool IsHeaderKey(string key)
    {
        foreach (var c in key)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.'))
            {
                return false;
            }
        }
        return key.Length > 0 && !key.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.OrdinalIgnoreCase);
    }
}
