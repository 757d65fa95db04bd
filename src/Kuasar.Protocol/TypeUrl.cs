using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace Kuasar.Protocol;

/// <summary>
/// containerd's type URLs. Its typeurl package writes the bare message name (<c>containerd.events.TaskExit</c>), never
/// <c>type.googleapis.com/…</c>; Google.Protobuf's <c>Any.Pack</c>, <c>Is</c> and <c>Unpack</c> know only the latter.
/// Go types that are not protobuf travel as JSON under a path of their own.
/// </summary>
public static class TypeUrl
{
    /// <summary>An OCI runtime spec, JSON.</summary>
    public const string OciSpec = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

    /// <summary>An OCI process, JSON; what <c>ExecProcessRequest.spec</c> carries.</summary>
    public const string OciProcess = "types.containerd.io/opencontainers/runtime-spec/1/Process";

    /// <summary>OCI Linux resources, JSON; what <c>UpdateTaskRequest.resources</c> carries.</summary>
    public const string OciLinuxResources = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

    /// <summary>OCI runtime features, JSON; what <c>RuntimeInfo.features</c> carries.</summary>
    public const string OciFeatures = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

    /// <summary>Wraps a message under its bare name.</summary>
    public static Any Pack(IMessage message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return new Any { TypeUrl = message.Descriptor.FullName, Value = message.ToByteString() };
    }

    /// <summary>Wraps JSON text (UTF-8) under one of the URLs above.</summary>
    public static Any PackJson(string typeUrl, ReadOnlySpan<byte> json) =>
        new() { TypeUrl = typeUrl, Value = ByteString.CopyFrom(json) };

    /// <summary>Whether the value is a message of this type: by bare name, or by name after the last slash as Go has it.</summary>
    public static bool Is<T>(Any? any) where T : IMessage<T>, new() =>
        any is not null && NameOf(any.TypeUrl).SequenceEqual(Descriptor<T>.Name);

    /// <summary>Reads the message if the value is of this type; false leaves <paramref name="message"/> null.</summary>
    /// <exception cref="InvalidProtocolBufferException">The URL fits and the bytes do not.</exception>
    public static bool TryUnpack<T>(Any? any, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out T? message)
        where T : class, IMessage<T>, new()
    {
        message = null;
        if (!Is<T>(any))
        {
            return false;
        }
        message = new T();
        message.MergeFrom(any!.Value);
        return true;
    }

    private static ReadOnlySpan<char> NameOf(string url) => url.AsSpan(url.LastIndexOf('/') + 1);

    private static class Descriptor<T> where T : IMessage<T>, new()
    {
        internal static readonly string Name = new T().Descriptor.FullName;
    }
}
