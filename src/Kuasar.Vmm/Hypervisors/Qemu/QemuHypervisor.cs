using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors.Qemu;

namespace Kuasar.Vmm;

/// <summary>Machines of QEMU, driven by its machine protocol; by KVM where that really runs guests, else emulated.</summary>
/// <remarks>
/// Make one and keep it, as it tries KVM once. Written against QEMU 11.1; 7.2 and later have all that is used. A machine that has vsock or shared folders cannot be saved in a snapshot: their
/// daemons cannot. A snapshot has no disks in it. A guest that resets itself, or panics, ends.
/// </remarks>
public sealed class QemuHypervisor : Hypervisor
{
    private const int MaxHotplugSlots = 64;

    private readonly KvmProbe _kvm;

    /// <summary>QEMU as the options say. Nothing is started, and none of its programs looked for, before a machine needs it.</summary>
    /// <exception cref="VmException">InvalidConfig.</exception>
    public QemuHypervisor(QemuOptions? options = null)
    {
        options ??= new QemuOptions();
        VmConfig.Require(options.HotplugSlots is >= 0 and <= MaxHotplugSlots, $"{options.HotplugSlots} slots for hotplug: at most {MaxHotplugSlots}");
        Options = options;
        _kvm = new KvmProbe(options);
        Capabilities = VmCapabilities.Disk | VmCapabilities.Net | VmCapabilities.Pause | VmCapabilities.Snapshot
            | (options.VhostDeviceVsock is null ? 0 : VmCapabilities.Vsock)
            | (options.Virtiofsd is null ? 0 : VmCapabilities.FileSystem)
            | (options.Machine == QemuMachineType.MicroVm ? 0 : VmCapabilities.HotplugDisk | VmCapabilities.HotplugNet | VmCapabilities.TapHandle
                | VmCapabilities.ResizeCpu | (options.Virtiofsd is null ? 0 : VmCapabilities.HotplugFileSystem));
    }

    /// <summary>How it is used.</summary>
    public QemuOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "qemu";

    /// <inheritdoc/>
    public override VmCapabilities Capabilities { get; }

    /// <inheritdoc/>
    public override async Task<VirtualMachine> RecoverAsync(VmRecord record, VmEnvironment environment, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(environment);
        var machine = new QemuMachine(Own(record), Capabilities, environment, Options, _kvm);
        await machine.RecoverAsync(cancellationToken).ConfigureAwait(false);
        return machine;
    }

    private protected override VirtualMachine CreateCore(VmConfig config, VmEnvironment environment)
    {
        Options.Qemu.Require();
        if (config.Vsock is not null)
        {
            Options.VhostDeviceVsock!.Require();
        }
        if (config.FileSystems.Count > 0)
        {
            Options.Virtiofsd!.Require();
        }
        return new QemuMachine(Name, config, Capabilities, environment, Options, _kvm);
    }
}
