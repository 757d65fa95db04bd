using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.Sandbox;

/// <summary>Limits of a pod, as the CRI's <c>UpdatePodSandboxResources</c> has them. Null: not to be changed.</summary>
/// <param name="Overhead">What the sandbox itself may take.</param>
/// <param name="Resources">The sum of what its containers may take.</param>
public sealed record SandboxResources(LinuxContainerResources? Overhead, LinuxContainerResources? Resources);
