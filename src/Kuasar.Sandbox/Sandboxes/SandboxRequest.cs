using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Tasks;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>What a containerd asks for when it creates a sandbox.</summary>
/// <param name="ContainerdAddress">Whose it is.</param>
/// <param name="Bundle">containerd's folder for it; empty where there is none.</param>
/// <param name="Options">As they came.</param>
/// <param name="NetworkNamespace">A path; empty for the host's.</param>
internal sealed record SandboxRequest(string ContainerdAddress, string Bundle = "", Any? Options = null, string NetworkNamespace = "")
{
    /// <summary>The pod, when the options are a CRI pod's; others are the author's to know.</summary>
    /// <exception cref="SandboxException">InvalidArgument: they say so and are not.</exception>
    internal PodSandboxConfig? Pod()
    {
        try
        {
            return TypeUrl.TryUnpack<PodSandboxConfig>(Options, out var pod) ? pod : null;
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"the options are no {Options?.TypeUrl}: {e.Message}", e);
        }
    }

    /// <exception cref="SandboxException">InvalidArgument: a path is none.</exception>
    internal void Check()
    {
        CheckPath("bundle", Bundle);
        CheckPath("network namespace", NetworkNamespace);
    }

    private static void CheckPath(string what, string path)
    {
        if (path.Length > 0 && (path[0] != '/' || path.Split('/').Contains("..") || path.Contains('\0', StringComparison.Ordinal)))
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"the {what} is no absolute, plain path: \"{path}\"");
        }
    }

    internal SandboxRecord ToRecord(TaskKey key, bool implied, DateTimeOffset now) => new()
    {
        ContainerdAddress = ContainerdAddress,
        Namespace = key.Namespace,
        Id = key.Id,
        Bundle = Bundle,
        Implied = implied,
        Options = Options,
        NetworkNamespace = NetworkNamespace,
        CreatedAt = Timestamp.FromDateTimeOffset(now),
    };
}
