using System.Text.Json.Nodes;
using Kuasar.Linux;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>
/// A device as QEMU's commands and its command line have it. Each has a slot, a small number of its machine's: its root port is rpN, it is devN, and
/// what is behind it is blkN, netN or chrN (a block node's name has at most 31 characters, fewer than our ids).
/// </summary>
internal static class QemuDevice
{
    internal static string Port(string slot) => $"rp{slot}";

    internal static string Id(string slot) => $"dev{slot}";

    internal static string Node(string slot) => $"blk{slot}";

    internal static string Netdev(string slot) => $"net{slot}";

    internal static string Chardev(string slot) => $"chr{slot}";

    /// <summary>For blockdev-add, or behind -blockdev.</summary>
    internal static JsonObject Block(VmDisk disk, string slot) => new()
    {
        ["driver"] = "raw",
        ["node-name"] = Node(slot),
        ["read-only"] = disk.ReadOnly,
        ["file"] = new JsonObject { ["driver"] = Libc.IsBlockDevice(disk.Path) ? "host_device" : "file", ["filename"] = disk.Path, ["read-only"] = disk.ReadOnly },
    };

    /// <summary>For netdev_add, or behind -netdev. An open tap has been given to QEMU by the netdev's name.</summary>
    internal static JsonObject Tap(VmNet net, string slot)
    {
        var tap = new JsonObject { ["type"] = "tap", ["id"] = Netdev(slot) };
        if (net.TapName is { } name)
        {
            tap["ifname"] = name;
            // A node each: it has one parent.
            tap["script"] = "no";
            tap["downscript"] = "no";
        }
        else
        {
            tap["fd"] = Netdev(slot);
        }
        return tap;
    }

    /// <summary>For chardev-add.</summary>
    internal static JsonObject Socket(string slot, string path) => new()
    {
        ["id"] = Chardev(slot),
        ["backend"] = new JsonObject
        {
            ["type"] = "socket",
            ["data"] = new JsonObject
            {
                ["addr"] = new JsonObject { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = path } },
                ["server"] = false,
            },
        },
    };

    /// <summary>The device itself, for device_add or behind -device.</summary>
    /// <param name="device">Ours.</param>
    /// <param name="slot">Its slot.</param>
    /// <param name="pci">At its root port, else on a bus of virtio-mmio.</param>
    internal static JsonObject Front(VmDevice device, string slot, bool pci)
    {
        var front = new JsonObject { ["id"] = Id(slot) };
        if (pci)
        {
            front["bus"] = Port(slot);
        }
        switch (device)
        {
            case VmDisk disk:
                const int MaxSerial = 20;
                front["driver"] = Driver("virtio-blk", pci);
                front["drive"] = Node(slot);
                front["serial"] = disk.Id.Length <= MaxSerial ? disk.Id : disk.Id[..MaxSerial];
                break;
            case VmNet net:
                front["driver"] = Driver("virtio-net", pci);
                front["netdev"] = Netdev(slot);
                front["mac"] = net.MacAddress;
                if (pci)
                {
                    // Nobody boots from it.
                    front["romfile"] = "";
                }
                break;
            case VmFileSystem share:
                front["driver"] = Driver("vhost-user-fs", pci);
                front["chardev"] = Chardev(slot);
                front["tag"] = share.Tag;
                break;
        }
        return front;
    }

    internal static string Driver(string name, bool pci) => name + (pci ? "-pci" : "-device");
}
