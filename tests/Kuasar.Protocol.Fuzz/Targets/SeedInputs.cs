using Google.Protobuf;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Fuzz.Protos;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>What peers that mean well send, and some that do not.</summary>
internal static class SeedInputs
{
    private static readonly M Message = new() { Deed = 0, Blob = ByteString.CopyFrom(1, 2) };

    /// <summary>One call of each kind, and one the server does not know.</summary>
    internal static byte[] Requests() =>
    [
        .. Request(1, "U", FrameFlags.None, Message),
        .. Request(3, "D", FrameFlags.RemoteClosed, new M { Deed = 3 }),
        .. Request(5, "C", FrameFlags.OpenStream, null),
        .. Data(5, Message),
        .. Data(5, Message),
        .. End(5),
        .. Request(7, "B", FrameFlags.RemoteOpen, Message),
        .. Data(7, Message),
        .. End(7),
        .. Request(9, "X", FrameFlags.None, Message),
    ];

    /// <summary>Answers to the calls of <see cref="ClientTarget"/>.</summary>
    internal static byte[] Responses() =>
    [
        .. Response(1, new Response { Payload = Message.ToByteString() }),
        .. Data(3, Message),
        .. Data(3, new M()),
        .. End(3),
        .. Response(5, new Response { Payload = Message.ToByteString() }),
        .. Data(7, Message),
        .. Response(7, new Response { Status = Error }),
    ];

    internal static byte[] Oddities() =>
    [
        .. Data(11, Message),
        .. Request(2, "U", FrameFlags.None, Message),
        .. PlainFrames.Frame(1, (FrameType)0x77, (FrameFlags)0xF0, [1]),
        .. PlainFrames.Frame(1, FrameType.Data, 0, new byte[300]),
        .. Request(1, "B", FrameFlags.OpenStream, null),
        .. Request(1, "U", FrameFlags.None, Message),
        .. PlainFrames.Frame(1, FrameType.Data, FrameFlags.RemoteClosed, [0xFF]),
    ];

    internal static IEnumerable<byte[]> Envelopes() =>
    [
        new Request
        {
            Service = "f.S", Method = "U", Payload = Message.ToByteString(), TimeoutNano = 1_000_000,
            Metadata = { new KeyValue { Key = "k", Value = "ä" }, new KeyValue { Key = "X y", Value = "v" }, new KeyValue { Key = "k-bin" } },
        }.ToByteArray(),
        new Request { TimeoutNano = -1, Metadata = { new KeyValue() } }.ToByteArray(),
        new Response { Payload = Message.ToByteString(), Status = new() }.ToByteArray(),
        // A status in two parts, a code past gRPC's.
        [.. new Response { Status = Error }.ToByteArray(), .. new Response { Status = new RpcStatus { Code = 99 } }.ToByteArray()],
        [0x40, 1, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x55, 1, 2, 3, 4, 0x5A, 1, 0, 0x1A, 1, 9],
        [0x2B, 0x08, 1, 0x2C],
    ];

    internal static byte[] Request(uint id, string method, FrameFlags flags, M? message, long timeout = 0)
    {
        var request = new Request { Service = "f.S", Method = method, TimeoutNano = timeout };
        request.Payload = message?.ToByteString() ?? ByteString.Empty;
        return PlainFrames.Frame(id, FrameType.Request, flags, request.ToByteArray());
    }

    internal static byte[] Response(uint id, Response response) => PlainFrames.Frame(id, FrameType.Response, 0, response.ToByteArray());

    private static RpcStatus Error => new()
    {
        Code = 5, Message = "m", Details = { new Google.Protobuf.WellKnownTypes.Any { TypeUrl = "f.M", Value = Message.ToByteString() } },
    };

    private static byte[] Data(uint id, M message) => PlainFrames.Frame(id, FrameType.Data, 0, message.ToByteArray());

    private static byte[] End(uint id) => PlainFrames.Frame(id, FrameType.Data, FrameFlags.EndStream, []);
}
