using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.Sandbox.Pods;

/// <summary>Whose namespaces a pod's containers are in.</summary>
internal sealed record PodModes(bool HostNetwork, bool HostIpc, NamespaceMode Pid)
{
    /// <exception cref="SandboxException">InvalidArgument or Unimplemented: the modes are no pod's, or not ours to make.</exception>
    internal static PodModes Of(PodSandboxConfig pod)
    {
        // What is left out is POD, the enum's zero, for all three.
        var options = pod.Linux?.SecurityContext?.NamespaceOptions ?? new NamespaceOption();
        if (options.UsernsOptions is { Mode: not NamespaceMode.Node })
        {
            throw new SandboxException(SandboxError.Unimplemented, "user namespaces of pods are not implemented by this sandboxer");
        }
        return new PodModes(IsHost("network", options.Network), IsHost("ipc", options.Ipc), options.Pid);
    }

    /// <summary>A name of its own needs a network of its own, as with containerd's pause container: a host's pod has the host's name.</summary>
    internal bool HostUts => HostNetwork;

    private static bool IsHost(string what, NamespaceMode mode) => mode switch
    {
        NamespaceMode.Pod => false,
        NamespaceMode.Node => true,
        _ => throw new SandboxException(SandboxError.InvalidArgument, $"a pod's {what} namespace cannot be of mode {mode}"),
    };
}
