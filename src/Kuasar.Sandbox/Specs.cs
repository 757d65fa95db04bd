using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Stdio;

namespace Kuasar.Sandbox;

/// <summary>A sandbox to be made. Ids have passed containerd's identifier rule.</summary>
public sealed class SandboxSpec
{
    internal SandboxSpec()
    {
    }

    /// <summary>containerd's namespace.</summary>
    public required string Namespace { get; init; }

    /// <summary>The pod's sandbox id, or the id of the container that stands alone.</summary>
    public required string Id { get; init; }

    /// <summary>Short name of the containerd that asks: ids are unique only within (this, namespace).</summary>
    public required string Instance { get; init; }

    /// <summary>A folder of the sandbox's own, mode 0700, below the run directory; it goes with the sandbox. Nothing in it is mounted when it goes.</summary>
    public required string WorkDirectory { get; init; }

    /// <summary>
    /// The pod as the CRI describes it, on the routes of the Sandbox API; null for a sandbox that containerd does not know of (podsandbox
    /// and <c>ctr</c>), or when a client other than the CRI made it.
    /// </summary>
    public PodSandboxConfig? Pod { get; init; }

    /// <summary>The pod's network namespace, a path below /run/netns or the like, made and removed by containerd; null for the host's network.</summary>
    public string? NetworkNamespace { get; init; }
}

/// <summary>A container to be made. Ids have passed the identifier rule; the rootfs is mounted; stdio is open.</summary>
public sealed class ContainerSpec
{
    internal ContainerSpec()
    {
    }

    /// <summary>The container's id.</summary>
    public required string Id { get; init; }

    /// <summary>containerd's bundle folder, absolute: config.json and rootfs are in it.</summary>
    public required string Bundle { get; init; }

    /// <summary>A folder of the container's own, mode 0700, below the run directory; it goes with the container.</summary>
    public required string WorkDirectory { get; init; }

    /// <summary>The OCI spec that config.json holds.</summary>
    public required OciSpec Oci { get; init; }

    /// <summary>Its standard streams.</summary>
    public required ProcessStdio Stdio { get; init; }

    /// <summary>Told before a runtime is asked to make the container: if we die in between, its state can still be found.</summary>
    internal Action<OciRuntime>? Intent { get; init; }

    /// <summary>The runtime's options as containerd has them, null where there are none. Unknown types are to be ignored.</summary>
    public Any? Options { get; init; }
}

/// <summary>A process to be started in a container that runs.</summary>
public sealed class ExecSpec
{
    internal ExecSpec()
    {
    }

    /// <summary>Unique within the container.</summary>
    public required string Id { get; init; }

    /// <summary>An OCI process, JSON in UTF-8, with <c>terminal</c> as the request has it.</summary>
    public required ReadOnlyMemory<byte> Process { get; init; }

    /// <summary>The container's folder (see <see cref="ContainerSpec.WorkDirectory"/>).</summary>
    public required string WorkDirectory { get; init; }

    /// <summary>Its standard streams.</summary>
    public required ProcessStdio Stdio { get; init; }
}
