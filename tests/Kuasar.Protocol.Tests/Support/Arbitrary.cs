using CsCheck;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Ttrpc;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>Generators of what properties are about.</summary>
internal static class Arbitrary
{
    /// <summary>Cases of each property. CsCheck says a failing one's seed, which CsCheck_Seed=... runs again.</summary>
    public const int Cases = 5_000;

    /// <summary>Places to cut at.</summary>
    public static readonly Gen<int[]> Cuts = Gen.Int[0, 80].Array[0, 12];

    public static readonly Gen<byte[]> Bytes = Gen.Byte.Array[0, 60];

    /// <summary>Text that UTF-8 can carry: all planes, no lone surrogates.</summary>
    public static readonly Gen<string> Text = Gen.OneOf(
        Gen.Char['a', 'z'].Select(static c => c.ToString()), Gen.Char[' ', '~'].Select(static c => c.ToString()),
        Gen.OneOf("\0", "ä", "語", "😀", "￿", "-bin", ".", "_", "A", "-")).Array[0, 12].Select(string.Concat);

    /// <summary>Nanoseconds, the extremes of every unit among them.</summary>
    public static readonly Gen<long> Timeout = Gen.OneOf(
        Gen.Long, Gen.Long[-200, 200],
        Gen.OneOf(long.MinValue, long.MaxValue, long.MaxValue - 99, uint.MaxValue, int.MaxValue, 0x7F, 0x80, 0x3FFF, 0x4000));

    public static readonly Gen<ByteString> ByteStrings = Bytes.Select(static bytes => ByteString.CopyFrom(bytes));

    public static readonly Gen<Request> Requests = Gen.Select(
        Text, Text, ByteStrings, Timeout, Gen.Select(Text, Text, static (key, value) => new KeyValue { Key = key, Value = value }).Array[0, 5],
        static (service, method, payload, timeout, metadata) => new Request
        {
            Service = service, Method = method, Payload = payload, TimeoutNano = timeout, Metadata = { metadata },
        });

    public static readonly Gen<RpcStatus> Statuses = Gen.Select(
        Gen.OneOf(Gen.Int[-2, 20], Gen.Int), Text,
        Gen.Select(Text, ByteStrings, static (url, value) => new Any { TypeUrl = url, Value = value }).Array[0, 3],
        static (code, message, details) => new RpcStatus { Code = code, Message = message, Details = { details } });

    public static readonly Gen<Response> Responses = Gen.Select(
        Statuses.Null(), ByteStrings, static (status, payload) => new Response { Status = status, Payload = payload });

    /// <summary>One field of a number that no envelope has, as bytes.</summary>
    public static readonly Gen<byte[]> UnknownField = Gen.Select(Gen.Int[6, 5000], Gen.Int[0, 3], Gen.ULong, Bytes, static (field, kind, number, bytes) =>
        Write(output =>
        {
            switch (kind)
            {
                case 0:
                    output.WriteTag(field, WireFormat.WireType.Varint);
                    output.WriteUInt64(number);
                    break;
                case 1:
                    output.WriteTag(field, WireFormat.WireType.Fixed64);
                    output.WriteFixed64(number);
                    break;
                case 2:
                    output.WriteTag(field, WireFormat.WireType.Fixed32);
                    output.WriteFixed32((uint)number);
                    break;
                default:
                    output.WriteTag(field, WireFormat.WireType.LengthDelimited);
                    output.WriteBytes(ByteString.CopyFrom(bytes));
                    break;
            }
        }));

    /// <summary>
    /// A message's bytes as any protobuf writer may have made them: parts of several messages of the type, so that scalars come
    /// again and messages are merged, and unknown fields between, in any order.
    /// </summary>
    public static Gen<byte[]> Parts<T>(Gen<T> messages) where T : IMessage<T> =>
        Gen.OneOf(messages.Select(static message => message.ToByteArray()), UnknownField).Array[0, 6].Select(static parts => parts.SelectMany(part => part).ToArray());

    public static byte[] Write(Action<CodedOutputStream> write)
    {
        using var stream = new MemoryStream();
        using (var output = new CodedOutputStream(stream, leaveOpen: true))
        {
            write(output);
        }
        return stream.ToArray();
    }
}
