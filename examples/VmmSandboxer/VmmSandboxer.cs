using Kuasar.Sandbox;
using Kuasar.Vmm;

namespace VmmSandboxer;

/// <summary>What every guest is made of.</summary>
internal sealed record GuestDefaults
{
    internal required string Kernel { get; init; }

    internal required string Initrd { get; init; }

    /// <summary>What the guest itself needs, and the whole of a pod without a limit.</summary>
    internal required long MemoryBytes { get; init; }

    internal required int Vcpus { get; init; }
}

/// <summary>Pods in virtual machines: one each.</summary>
internal sealed class VmmSandboxer(Hypervisor hypervisor, GuestDefaults defaults) : Sandboxer
{
    public override Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken) => Task.FromResult<Sandbox>(NewPod(spec));

    public override async Task<Sandbox> RecoverSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken)
    {
        var pod = NewPod(spec);
        if (spec.WasStarted)
        {
            await pod.RecoverAsync(cancellationToken);
        }
        return pod;
    }

    private VmmPod NewPod(SandboxSpec spec) => new(spec, Services, hypervisor, defaults);
}
