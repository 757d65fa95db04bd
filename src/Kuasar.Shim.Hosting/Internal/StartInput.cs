using System.Text;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Bootstrap;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary>
/// What stdin of <c>start</c> holds: up to containerd 2.2 the runtime options as Any, or nothing; from 2.3 on BootstrapParams, always.
/// </summary>
internal sealed class StartInput
{
    internal BootstrapParams? Bootstrap { get; private init; }

    internal Any? Options { get; private init; }

    /// <summary>
    /// Both messages begin with two length-delimited fields, and either may parse as the other. It is BootstrapParams only if
    /// <c>instance_id</c> and <c>namespace</c> are what the flags say.
    /// </summary>
    /// <exception cref="InvalidProtocolBufferException">It is neither.</exception>
    internal static StartInput Parse(byte[] input, string containerdNamespace, string id)
    {
        if (input.Length == 0)
        {
            return new StartInput();
        }
        if (Holds(input, BootstrapParams.InstanceIdFieldNumber, id) && Holds(input, BootstrapParams.NamespaceFieldNumber, containerdNamespace))
        {
            var bootstrap = new BootstrapParams();
            bootstrap.MergeFrom(input);
            return new StartInput { Bootstrap = bootstrap, Options = bootstrap.Extensions.Count > 0 ? bootstrap.Extensions[0].Value : null };
        }
        return new StartInput { Options = ParseOptions(input) };
    }

    internal static Any? ParseOptions(byte[] input)
    {
        if (input.Length == 0)
        {
            return null;
        }
        try
        {
            var options = new Any();
            options.MergeFrom(input);
            return options;
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new ShimException("stdin holds neither runtime options nor bootstrap parameters", e);
        }
    }

    // By the wire and not by trying to parse: the usual answer is no, and an exception would cost more than all the rest of `start`.
    private static bool Holds(ReadOnlySpan<byte> message, int field, string value)
    {
        Span<byte> expected = stackalloc byte[Encoding.UTF8.GetMaxByteCount(Kuasar.Linux.ContainerdId.MaxLength)];
        expected = expected[..Encoding.UTF8.GetBytes(value, expected)];
        var found = false;
        while (TryReadField(ref message, out var tag, out var content))
        {
            if (tag == WireFormat.MakeTag(field, WireFormat.WireType.LengthDelimited))
            {
                found = content.SequenceEqual(expected);
            }
        }
        return found && message.IsEmpty;
    }

    private static bool TryReadField(ref ReadOnlySpan<byte> message, out uint tag, out ReadOnlySpan<byte> content)
    {
        content = default;
        tag = 0;
        if (!TryReadVarint(ref message, out var number) || number > uint.MaxValue)
        {
            return false;
        }
        tag = (uint)number;
        ulong length;
        switch (WireFormat.GetTagWireType(tag))
        {
            case WireFormat.WireType.Varint:
                return TryReadVarint(ref message, out _);
            case WireFormat.WireType.LengthDelimited when TryReadVarint(ref message, out length):
                break;
            case WireFormat.WireType.Fixed64:
                length = 8;
                break;
            case WireFormat.WireType.Fixed32:
                length = 4;
                break;
            default:
                return false;
        }
        if (length > (ulong)message.Length)
        {
            return false;
        }
        content = message[..(int)length];
        message = message[(int)length..];
        return true;
    }

    private static bool TryReadVarint(ref ReadOnlySpan<byte> message, out ulong value)
    {
        value = 0;
        for (var i = 0; i < 10 && i < message.Length; i++)
        {
            value |= (ulong)(message[i] & 0x7F) << (7 * i);
            if (message[i] < 0x80)
            {
                message = message[(i + 1)..];
                return true;
            }
        }
        return false;
    }
}
