using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Hypervisors;

/// <summary>Configs as Firecracker's API has them: a request for each part.</summary>
internal static class FirecrackerConfig
{
    private const int MibShift = 20;

    /// <summary>Path and body of each request that makes a machine, in order. Guests find disks in the order of their requests.</summary>
    internal static IEnumerable<(string Path, JsonObject Body)> Machine(VmConfig config, string vsock, bool pci)
    {
        yield return ("/machine-config", new JsonObject { ["vcpu_count"] = config.Vcpus, ["mem_size_mib"] = config.MemoryBytes >> MibShift });
        yield return ("/boot-source", BootSource(config, pci));
        foreach (var disk in config.Disks)
        {
            yield return Disk(disk);
        }
        foreach (var net in config.Nets)
        {
            yield return Net(net);
        }
        if (config.Vsock is { } device)
        {
            yield return ("/vsock", new JsonObject { ["guest_cid"] = device.ContextId, ["uds_path"] = vsock });
        }
        if (config.MaxMemoryBytes > config.MemoryBytes)
        {
            yield return ("/hotplug/memory", new JsonObject { ["total_size_mib"] = (config.MaxMemoryBytes - config.MemoryBytes) >> MibShift });
        }
    }

    /// <summary>Where the guest's serial port goes; it is not part of a snapshot, so it is asked for before one is loaded too.</summary>
    internal static (string Path, JsonObject Body) Serial(string log) => ("/serial", new JsonObject { ["serial_out_path"] = log });

    internal static (string Path, JsonObject Body) Disk(VmDisk disk) => (DiskPath(disk.Id), new JsonObject
    {
        ["drive_id"] = IdOf(disk.Id), ["path_on_host"] = disk.Path, ["is_root_device"] = false, ["is_read_only"] = disk.ReadOnly,
    });

    internal static (string Path, JsonObject Body) Net(VmNet net) => (NetPath(net.Id), new JsonObject
    {
        ["iface_id"] = IdOf(net.Id), ["host_dev_name"] = net.TapName, ["guest_mac"] = net.MacAddress,
    });

    internal static string DiskPath(string id) => $"/drives/{IdOf(id)}";

    internal static string NetPath(string id) => $"/network-interfaces/{IdOf(id)}";

    /// <summary>Firecracker's ids have no dash: it becomes _d, and _ becomes __, so that two ids never become one.</summary>
    internal static string IdOf(string id) => id.Replace("_", "__", StringComparison.Ordinal).Replace("-", "_d", StringComparison.Ordinal);

    private static JsonObject BootSource(VmConfig config, bool pci)
    {
        // Its only way out is the keyboard controller's reset.
        var line = KernelCommandLine.With(config.CommandLine, "reboot=k", "panic=-1");
        var source = new JsonObject { ["kernel_image_path"] = config.Kernel, ["boot_args"] = pci ? line : KernelCommandLine.With(line, "pci=off") };
        if (config.Initrd is { } initrd)
        {
            source["initrd_path"] = initrd;
        }
        return source;
    }
}
