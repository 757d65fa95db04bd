using System.Buffers.Binary;
using System.Text;
using Google.Protobuf;
using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Peer;

/// <summary>A ttrpc echo as bytes.</summary>
internal static class EchoFrames
{
    private const byte RequestType = 1, ResponseType = 2;

    internal static byte[] Request(int size)
    {
        using var data = new MemoryStream();
        Write(data, 1, Encoding.ASCII.GetBytes("kuasar.bench.Bench"));
        Write(data, 2, "Echo"u8.ToArray());
        Write(data, 3, Message.OfSize(size).ToByteArray());
        return Frame(RequestType, data.ToArray());
    }

    internal static byte[] Response(int size)
    {
        using var data = new MemoryStream();
        Write(data, 2, Message.OfSize(size).ToByteArray());
        return Frame(ResponseType, data.ToArray());
    }

    private static void Write(MemoryStream data, int field, byte[] value)
    {
        var output = new CodedOutputStream(data, leaveOpen: true);
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(UnsafeByteOperations.UnsafeWrap(value));
        output.Flush();
    }

    // length 4 | stream id 4 | type 1 | flags 1 | data
    private static byte[] Frame(byte type, byte[] data)
    {
        var frame = new byte[10 + data.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame, data.Length);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(4), 1);
        frame[8] = type;
        data.CopyTo(frame, 10);
        return frame;
    }
}
