using System.Buffers.Binary;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace Kuasar.Benchmarks.Load;

public static class Message
{
    public static BytesValue OfSize(int size)
    {
        var bytes = new byte[size];
        for (var i = 0; i < size; i++)
        {
            bytes[i] = (byte)(i * 7);
        }
        return new() { Value = UnsafeByteOperations.UnsafeWrap(bytes) };
    }
}

/// <summary>The request of a stream from the server.</summary>
public static class StreamOrder
{
    public static BytesValue Write(int count, int size)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, count);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), size);
        return new() { Value = UnsafeByteOperations.UnsafeWrap(bytes) };
    }

    public static (int Count, int Size) Read(BytesValue order)
    {
        var bytes = order.Value.Span;
        return (BinaryPrimitives.ReadInt32LittleEndian(bytes), BinaryPrimitives.ReadInt32LittleEndian(bytes[4..]));
    }
}
