using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors;

namespace Kuasar.Vmm;

/// <summary>Where Cloud Hypervisor's programs are. Immutable.</summary>
public sealed record CloudHypervisorOptions
{
    /// <summary>cloud-hypervisor, version 41 or later.</summary>
    public VmProgram CloudHypervisor { get; init; } = "/usr/bin/cloud-hypervisor";

    /// <summary>virtiofsd; null: machines have no shared folders.</summary>
    public VmProgram? Virtiofsd { get; init; } = "/usr/libexec/virtiofsd";
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
        | (options.Virtiofsd is null ? 0 : VmCapabilities.FileSystem | VmCapabilities.HotplugFileSystem);

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
        options.CloudHypervisor.Require();
        if (config.FileSystems.Count > 0)
        {
            options.Virtiofsd?.Require();
        }
        return new CloudHypervisorMachine(Name, config, Capabilities, environment, options);
    }
}
