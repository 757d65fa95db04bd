namespace Kuasar.Vmm;

/// <summary>What QEMU takes a guest's machine to be.</summary>
public enum QemuMachineType
{
    /// <summary>A PC with PCI Express, whose devices can be plugged while it runs. The safe choice.</summary>
    Q35,

    /// <summary>A few virtio-mmio devices and no buses: a little faster to boot, no hotplug. Its firmware is qboot.</summary>
    MicroVm,
}

/// <summary>Who runs a guest's instructions.</summary>
public enum QemuAccelerator
{
    /// <summary>KVM where a guest really boots with it, which is tried once; else emulation.</summary>
    Automatic,

    /// <summary>The host's processor.</summary>
    Kvm,

    /// <summary>Emulation.</summary>
    Tcg,
}

/// <summary>Where QEMU and its daemons are, and how they are used. Immutable.</summary>
public sealed record QemuOptions
{
    /// <summary>qemu-system-x86_64, the full one: Debian's trimmed -microvm has no vsock.</summary>
    public VmProgram Qemu { get; init; } = "/usr/bin/qemu-system-x86_64";

    /// <summary>virtiofsd, for shared folders; null: machines have none.</summary>
    public VmProgram? Virtiofsd { get; init; } = "/usr/libexec/virtiofsd";

    /// <summary>vhost-device-vsock, for vsock; null: machines have none.</summary>
    public VmProgram? VhostDeviceVsock { get; init; } = "/usr/bin/vhost-device-vsock";

    /// <summary>Where QEMU looks for firmware; empty: where it was built to.</summary>
    public IReadOnlyList<string> FirmwareFolders { get; init; } = [];

    /// <summary>The machine.</summary>
    public QemuMachineType Machine { get; init; }

    /// <summary>Who runs the guest.</summary>
    public QemuAccelerator Accelerator { get; init; }

    /// <summary>The processor as QEMU's <c>-cpu</c> has it; null: the host's with KVM, else QEMU's own choice.</summary>
    public string? Cpu { get; init; }

    /// <summary>How many more devices than at boot there may be at one time, 0 to 64; Q35 alone.</summary>
    public int HotplugSlots { get; init; } = 8;

    /// <summary>How long a guest may take to show that KVM is one, and not an interpreter behind its name. Default 5 s.</summary>
    public TimeSpan KvmProbeTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a command, or a guest that is to let go of a device, may take. Default 10 s.</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Of a folder into which Debian's packages were unpacked (usr/bin, usr/libexec, usr/lib/x86_64-linux-gnu, ...): run by their own loader,
    /// since the host's C library may be older.
    /// </summary>
    public static QemuOptions FromPrefix(string prefix)
    {
        ArgumentException.ThrowIfNullOrEmpty(prefix);
        var libraries = Path.Combine(prefix, "usr/lib/x86_64-linux-gnu");
        return new QemuOptions
        {
            Qemu = Of("usr/bin/qemu-system-x86_64"),
            Virtiofsd = Of("usr/libexec/virtiofsd"),
            VhostDeviceVsock = Of("usr/bin/vhost-device-vsock"),
            FirmwareFolders = [Path.Combine(prefix, "usr/share/qemu"), Path.Combine(prefix, "usr/share/seabios")],
        };

        VmProgram Of(string program) =>
            new(Path.Combine(libraries, "ld-linux-x86-64.so.2"), "--library-path", libraries, Path.Combine(prefix, program));
    }
}
