using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors;

namespace Kuasar.Vmm;

/// <summary>Where Cloud Hypervisor's programs are.</summary>
/// <param name="Path">Absolute path of <c>cloud-hypervisor</c>; version 41 or later.</param>
public sealed record CloudHypervisorOptions(string Path)
{
    /// <summary>Absolute path of virtiofsd; null: machines have no shared folders.</summary>
    public string? VirtiofsdPath { get; init; }

    /// <summary>More arguments for each process, as <c>--seccomp log</c>.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];
}

/// <summary>Machines of Cloud Hypervisor, by its REST API. It needs a KVM that runs stock kernels.</summary>
/// <remarks>
/// A guest that resets itself would be booted again by Cloud Hypervisor; here its machine ends. The console's log begins anew when the machine is
/// booted or restored. Machines that have been given open taps, or have shared folders, cannot be saved in snapshots. Memory is resized in steps of
/// 128 MiB, and only upwards.
/// </remarks>
public sealed class CloudHypervisor(CloudHypervisorOptions options) : Hypervisor
{
    private const long MemoryStep = 128L << 20;

    /// <inheritdoc/>
    public override string Name => "cloud-hypervisor";

    /// <inheritdoc/>
    public override VmCapabilities Capabilities { get; } =
        VmCapabilities.Disk | VmCapabilities.Net | VmCapabilities.Vsock | VmCapabilities.TapHandle | VmCapabilities.HotplugDisk | VmCapabilities.HotplugNet
        | VmCapabilities.Pause | VmCapabilities.Snapshot | VmCapabilities.ResizeCpu | VmCapabilities.ResizeMemory
        | (options.VirtiofsdPath is null ? 0 : VmCapabilities.FileSystem | VmCapabilities.HotplugFileSystem);

    /// <inheritdoc/>
    public override async Task<VirtualMachine> RecoverAsync(VmRecord record, VmEnvironment environment, CancellationToken cancellationToken)
    {
        var machine = new CloudHypervisorMachine(Own(record), Capabilities, environment, options);
        await machine.RecoverAsync(cancellationToken).ConfigureAwait(false);
        return machine;
    }

    private protected override VirtualMachine CreateCore(VmConfig config, VmEnvironment environment)
    {
        VmConfig.Require((config.MaxMemoryBytes - config.MemoryBytes) % MemoryStep == 0 || config.MaxMemoryBytes <= config.MemoryBytes,
            $"Cloud Hypervisor's memory grows by multiples of 128 MiB, not from {config.MemoryBytes} to {config.MaxMemoryBytes} bytes");
        return new CloudHypervisorMachine(Name, config, Capabilities, environment, options);
    }
}
