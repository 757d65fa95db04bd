namespace Kuasar.Vmm;

/// <summary>What a hypervisor can do. A configuration or a call that needs more is refused before anything is done.</summary>
[Flags]
public enum VmCapabilities
{
    /// <summary>Boots a kernel, and no more.</summary>
    None = 0,

    /// <summary>Block devices.</summary>
    Disk = 1 << 0,

    /// <summary>Network interfaces over taps.</summary>
    Net = 1 << 1,

    /// <summary>Shared folders by virtiofs.</summary>
    FileSystem = 1 << 2,

    /// <summary>vsock between host and guest.</summary>
    Vsock = 1 << 3,

    /// <summary>A booted machine gets and loses disks.</summary>
    HotplugDisk = 1 << 4,

    /// <summary>A booted machine gets and loses network interfaces.</summary>
    HotplugNet = 1 << 5,

    /// <summary>A booted machine gets and loses shared folders.</summary>
    HotplugFileSystem = 1 << 6,

    /// <summary>Pause and resume.</summary>
    Pause = 1 << 7,

    /// <summary>Snapshot to a folder, and restore from it. The devices that a machine has may stand against it.</summary>
    Snapshot = 1 << 8,

    /// <summary>The number of vcpus may change after boot, up to <see cref="VmConfig.MaxVcpus"/>.</summary>
    ResizeCpu = 1 << 9,

    /// <summary>Memory may change after boot.</summary>
    ResizeMemory = 1 << 10,

    /// <summary>A tap may be given as an open file; without, by its name alone.</summary>
    TapHandle = 1 << 11,
}
