using System.Globalization;
using Google.Protobuf;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>The one message that both sides send.</summary>
internal static class Messages
{
    /// <summary>ttrpc's limit on the data of one frame.</summary>
    internal const int Limit = 4 << 20;

    /// <summary>What metadata values are joined by: no text has it.</summary>
    internal const char Separator = '\x1f';

    internal static BytesValue Text(string text) => new() { Value = ByteString.CopyFromUtf8(text) };

    internal static BytesValue Bytes(byte[] bytes) => new() { Value = ByteString.CopyFrom(bytes) };

    internal static BytesValue Blob(int size)
    {
        var bytes = new byte[size];
        for (var i = 0; i < size; i++)
        {
            bytes[i] = (byte)(i * 7);
        }
        return Bytes(bytes);
    }

    internal static string ToText(this BytesValue message) => message.Value.ToStringUtf8();

    internal static int ToNumber(this BytesValue message) => int.Parse(message.Value.ToStringUtf8(), CultureInfo.InvariantCulture);

    internal static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
