using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm;

/// <summary>What a virtual machine is made of. Checked once, by <see cref="Validate"/>, before anything is started.</summary>
public sealed record VmConfig
{
    /// <summary>Absolute path of the guest's kernel: an ELF vmlinux with a PVH note, or a bzImage.</summary>
    public required string Kernel { get; init; }

    /// <summary>Absolute path of the initial ram disk; null: none.</summary>
    public string? Initrd { get; init; }

    /// <summary>The kernel's command line. A driver adds what its machine cannot do without.</summary>
    public string CommandLine { get; init; } = "";

    /// <summary>At boot; 1 to 255.</summary>
    public int Vcpus { get; init; } = 1;

    /// <summary>Up to which number they may grow; 0: as many as at boot.</summary>
    public int MaxVcpus { get; init; }

    /// <summary>Bytes, whole MiB.</summary>
    public long MemoryBytes { get; init; } = 256L << 20;

    /// <summary>Up to how many bytes memory may grow; 0: as much as at boot.</summary>
    public long MaxMemoryBytes { get; init; }

    /// <summary>In the order in which the guest is to find them, where the machine keeps an order.</summary>
    public IReadOnlyList<VmDisk> Disks { get; init; } = [];

    /// <summary>Network interfaces.</summary>
    public IReadOnlyList<VmNet> Nets { get; init; } = [];

    /// <summary>Shared folders.</summary>
    public IReadOnlyList<VmFileSystem> FileSystems { get; init; } = [];

    /// <summary>Null: no vsock.</summary>
    public VmVsock? Vsock { get; init; }

    /// <summary>Where what the guest writes to its serial console goes; made with mode 0600, and added to. Null: nowhere.</summary>
    public string? ConsoleLog { get; init; }

    /// <summary>What a machine of it needs.</summary>
    public VmCapabilities Needs =>
        (Disks.Count > 0 ? VmCapabilities.Disk : 0) | (Nets.Count > 0 ? VmCapabilities.Net : 0) |
        (FileSystems.Count > 0 ? VmCapabilities.FileSystem : 0) | (Vsock is null ? 0 : VmCapabilities.Vsock) |
        (MaxVcpus > Vcpus ? VmCapabilities.ResizeCpu : 0) | (MaxMemoryBytes > MemoryBytes ? VmCapabilities.ResizeMemory : 0) |
        (Nets.Any(net => net.Tap is not null) ? VmCapabilities.TapHandle : 0);

    /// <summary>Refuses what is wrong, and what a hypervisor with these capabilities cannot do.</summary>
    /// <exception cref="VmException">InvalidConfig or Unsupported; the message names what.</exception>
    public void Validate(VmCapabilities capabilities)
    {
        RequireFile("kernel", Kernel);
        if (Initrd is { } initrd)
        {
            RequireFile("initrd", initrd);
        }
        Require(!CommandLine.AsSpan().ContainsAny('\0', '\n'), "the command line is more than one line");
        Require(Vcpus is > 0 and <= 255, $"{Vcpus} vcpus");
        Require(MaxVcpus is 0 || (MaxVcpus >= Vcpus && MaxVcpus <= 255), $"at most {MaxVcpus} vcpus and {Vcpus} at boot");
        Require(MemoryBytes >= 32L << 20 && MemoryBytes % (1 << 20) == 0, $"{MemoryBytes} bytes of memory: at least 32 MiB, in whole MiB");
        Require(MaxMemoryBytes is 0 || (MaxMemoryBytes >= MemoryBytes && MaxMemoryBytes % (1 << 20) == 0), $"at most {MaxMemoryBytes} bytes of memory");
        if (ConsoleLog is { } log)
        {
            Require(Path.IsPathFullyQualified(log), $"console log {log} is no absolute path");
        }
        var ids = new HashSet<string>(StringComparer.Ordinal);
        foreach (var device in Disks.Cast<VmDevice>().Concat(Nets).Concat(FileSystems))
        {
            device.Validate();
            Require(ids.Add(device.Id), $"two devices have the id {device.Id}");
        }
        Vsock?.Validate();
        Require(Needs, capabilities);
    }

    /// <summary>Throws where one of the needs is missing, and names it.</summary>
    internal static void Require(VmCapabilities needs, VmCapabilities capabilities)
    {
        if ((needs & ~capabilities) is not VmCapabilities.None and var missing)
        {
            throw new VmException(VmError.Unsupported, $"this hypervisor has no {missing}");
        }
    }

    internal static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new VmException(VmError.InvalidConfig, message);
        }
    }

    internal static void RequireFile(string what, string path)
    {
        Require(Path.IsPathFullyQualified(path), $"{what} {path} is no absolute path");
        Require(File.Exists(path), $"there is no {what} {path}");
    }
}

/// <summary>A device by its id, which is unique in its machine.</summary>
/// <param name="Id">Letters, digits, - and _, at most 32, a letter first: it stands in the hypervisors' own ids.</param>
public abstract record VmDevice(string Id)
{
    /// <summary>What adding one to a booted machine needs.</summary>
    internal abstract VmCapabilities Hotplug { get; }

    internal virtual void Validate() => VmConfig.Require(
        Id.Length is > 0 and <= 32 && char.IsAsciiLetter(Id[0]) && Id.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_'), $"\"{Id}\" is no device id");
}

/// <summary>A block device with an image file or block device of the host behind it.</summary>
/// <param name="Id">Its id; also its serial number in the guest where the machine has such, at most 20 characters of it.</param>
/// <param name="Path">Absolute; raw.</param>
public sealed record VmDisk(string Id, string Path) : VmDevice(Id)
{
    /// <summary>The guest cannot write to it.</summary>
    public bool ReadOnly { get; init; }

    internal override VmCapabilities Hotplug => VmCapabilities.HotplugDisk;

    internal override void Validate()
    {
        base.Validate();
        VmConfig.RequireFile($"disk {Id}", Path);
    }
}

/// <summary>A network interface. Its other end is a tap, by name or open.</summary>
/// <param name="Id">Its id.</param>
/// <param name="MacAddress">Six octets, <c>02:00:00:00:00:01</c>.</param>
public sealed record VmNet(string Id, string MacAddress) : VmDevice(Id)
{
    /// <summary>The tap's name in the network namespace that the hypervisor runs in, this process's; null with <see cref="Tap"/>.</summary>
    public string? TapName { get; init; }

    /// <summary>The tap, open, with a virtio-net header (IFF_VNET_HDR); the caller's, to be closed once the machine has it.</summary>
    public SafeFileHandle? Tap { get; init; }

    internal override VmCapabilities Hotplug => VmCapabilities.HotplugNet | (Tap is null ? 0 : VmCapabilities.TapHandle);

    internal override void Validate()
    {
        base.Validate();
        VmConfig.Require(
            System.Net.NetworkInformation.PhysicalAddress.TryParse(MacAddress, out var mac) && mac.GetAddressBytes() is { Length: 6 } bytes && (bytes[0] & 1) == 0,
            $"\"{MacAddress}\" is no address of an interface");
        VmConfig.Require(TapName is null != Tap is null, $"interface {Id} has no tap, or two");
        VmConfig.Require(TapName is null or { Length: > 0 and < 16 }, $"\"{TapName}\" is no interface's name");
    }
}

/// <summary>A folder of the host that the guest mounts by its tag: <c>mount -t virtiofs TAG</c>. A daemon of the library's serves it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Tag">At most 36 bytes.</param>
/// <param name="SharedDirectory">Absolute.</param>
public sealed record VmFileSystem(string Id, string Tag, string SharedDirectory) : VmDevice(Id)
{
    internal override VmCapabilities Hotplug => VmCapabilities.HotplugFileSystem;

    internal override void Validate()
    {
        base.Validate();
        // Its daemon's role is the id.
        VmConfig.Require(Id is not (VirtualMachine.HypervisorRole or VirtualMachine.VsockRole), $"a shared folder cannot be called {Id}");
        VmConfig.Require(Tag.Length is > 0 and <= 36 && Tag.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'), $"\"{Tag}\" is no tag");
        VmConfig.Require(Path.IsPathFullyQualified(SharedDirectory) && Directory.Exists(SharedDirectory), $"there is no folder {SharedDirectory} to share");
    }
}

/// <summary>The machine's vsock; on the host a unix socket in the machine's folder (hybrid vsock).</summary>
/// <param name="ContextId">The guest's CID, 3 or more.</param>
public sealed record VmVsock(uint ContextId = 3)
{
    internal void Validate() => VmConfig.Require(ContextId is >= 3 and < uint.MaxValue, $"CID {ContextId} is not a guest's");
}
