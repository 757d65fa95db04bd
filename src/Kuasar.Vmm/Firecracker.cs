using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors;

namespace Kuasar.Vmm;

/// <summary>Where Firecracker is, and how it is run. Immutable.</summary>
public sealed record FirecrackerOptions
{
    /// <summary>firecracker, version 1.14 or later.</summary>
    public VmProgram Firecracker { get; init; } = "/usr/bin/firecracker";

    /// <summary>
    /// Gives guests a PCI bus (<c>--enable-pci</c>), so that disks and interfaces can be added and removed while they run. The guest is not told: it must
    /// look for what was added (<c>echo 1 &gt; /sys/bus/pci/rescan</c>), and give back a device by itself before it is removed.
    /// </summary>
    public bool EnablePci { get; init; }
}

/// <summary>Machines of Firecracker, by its REST API. It needs a KVM that runs stock kernels, and an ELF kernel.</summary>
/// <remarks>
/// Firecracker knows no power-off: guests end by a reset (<c>reboot=k</c> is put on the command line), which is a shutdown when it was asked for by
/// <see cref="VirtualMachine.PowerDownAsync"/>. There are no shared folders. A restored machine reads its memory from the snapshot while it runs, and has
/// its disks where the saved one had them. Memory is resized by virtio-mem, in steps of 128 MiB.
/// </remarks>
public sealed class Firecracker(FirecrackerOptions options) : Hypervisor
{
    private const long MemoryStep = 128L << 20;
    private const int MostVcpus = 32;

    /// <inheritdoc/>
    public override string Name => "firecracker";

    /// <inheritdoc/>
    public override VmCapabilities Capabilities { get; } =
        VmCapabilities.Disk | VmCapabilities.Net | VmCapabilities.Vsock | VmCapabilities.Pause | VmCapabilities.Snapshot | VmCapabilities.ResizeMemory
        | (options.EnablePci ? VmCapabilities.HotplugDisk | VmCapabilities.HotplugNet : 0);

    /// <inheritdoc/>
    public override async Task<VirtualMachine> RecoverAsync(VmRecord record, VmEnvironment environment, CancellationToken cancellationToken)
    {
        var machine = new FirecrackerMachine(Own(record), Capabilities, environment, options);
        await machine.RecoverAsync(cancellationToken).ConfigureAwait(false);
        return machine;
    }

    private protected override VirtualMachine CreateCore(VmConfig config, VmEnvironment environment)
    {
        VmConfig.Require(config.Vcpus <= MostVcpus, $"Firecracker has at most {MostVcpus} vcpus, not {config.Vcpus}");
        VmConfig.Require((config.MaxMemoryBytes - config.MemoryBytes) % MemoryStep == 0 || config.MaxMemoryBytes <= config.MemoryBytes,
            $"Firecracker's memory grows by multiples of 128 MiB, not from {config.MemoryBytes} to {config.MaxMemoryBytes} bytes");
        options.Firecracker.Require();
        return new FirecrackerMachine(Name, config, Capabilities, environment, options);
    }
}
