using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Sandbox.Control;
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
        if (Bundle.Length > 0)
        {
            PlainPath.Check("bundle", Bundle);
        }
        if (NetworkNamespace.Length > 0)
        {
            PlainPath.Check("network namespace", NetworkNamespace);
        }
    }

    /// <exception cref="SandboxException">Unimplemented: the CRI never sends one.</exception>
    internal static void RefuseRootfs(IReadOnlyCollection<Mount> rootfs)
    {
        if (rootfs.Count > 0)
        {
            throw new SandboxException(SandboxError.Unimplemented, "a sandbox with a root file system is not implemented");
        }
    }

    internal static SandboxRequest From(SandboxRecord record) =>
        new(record.ContainerdAddress, record.Bundle, record.Options, record.NetworkNamespace);

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
        Schema = Domain.RecordFile.Schema,
        BootId = Linux.ProcessIdentity.BootId,
    };
}
