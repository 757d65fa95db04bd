using System.Runtime.CompilerServices;
using System.Text;
using Google.Protobuf;
using Grpc.Core;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// The fields of a request envelope. The payload goes last (any order is protobuf), so it is serialised straight behind them.
/// </summary>
internal static class RequestWriter
{
    internal const byte PayloadTag = (3 << 3) | 2;
    private const byte ServiceTag = (1 << 3) | 2;
    private const byte MethodTag = (2 << 3) | 2;
    private const byte TimeoutTag = 4 << 3;
    private const byte MetadataTag = (5 << 3) | 2;
    private const byte KeyTag = (1 << 3) | 2;
    private const byte ValueTag = (2 << 3) | 2;

    // Weak: methods made at run time do not pile up here; generated ones are static and stay.
    private static readonly ConditionalWeakTable<IMethod, byte[]> Names = [];

    /// <summary>Service and method; encoded once per method.</summary>
    internal static byte[] NameOf(IMethod method) => Names.GetValue(method, static method =>
    {
        using var stream = new MemoryStream();
        using (var output = new CodedOutputStream(stream, leaveOpen: true))
        {
            output.WriteRawTag(ServiceTag);
            output.WriteString(method.ServiceName);
            output.WriteRawTag(MethodTag);
            output.WriteString(method.Name);
        }
        return stream.ToArray();
    });

    /// <param name="frame">Between Begin and End.</param>
    /// <param name="timeoutNano">0 is none.</param>
    internal static void WriteTimeout(FrameBuilder frame, long timeoutNano)
    {
        if (timeoutNano != 0)
        {
            frame.WriteBytes([TimeoutTag]);
            frame.WriteVarint((ulong)timeoutNano);
        }
    }

    internal static void WriteHeaders(FrameBuilder frame, Metadata headers)
    {
        foreach (var entry in headers)
        {
            frame.WriteBytes([MetadataTag]);
            frame.WriteVarint((ulong)(StringSize(entry.Key) + StringSize(entry.Value)));
            frame.WriteString(KeyTag, entry.Key);
            frame.WriteString(ValueTag, entry.Value);
        }
    }

    private static int StringSize(string value)
    {
        var bytes = Encoding.UTF8.GetByteCount(value);
        return 1 + CodedOutputStream.ComputeLengthSize(bytes) + bytes;
    }
}
