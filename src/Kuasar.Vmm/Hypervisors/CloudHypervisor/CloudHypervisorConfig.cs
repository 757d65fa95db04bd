using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Hypervisors;

/// <summary>Configs as Cloud Hypervisor's API has them (schemas VmConfig, DiskConfig, NetConfig, FsConfig).</summary>
internal static class CloudHypervisorConfig
{
    /// <summary>A whole machine, but for the interfaces whose taps are open: those are added beside a request of their own.</summary>
    /// <param name="config">The machine's.</param>
    /// <param name="kernel">Path of the kernel.</param>
    /// <param name="vsock">The hybrid vsock's socket.</param>
    /// <param name="sockets">Of the shared folders' daemons, by their devices' ids.</param>
    /// <param name="shared">Memory that such daemons can map, also of folders that are plugged in later.</param>
    internal static JsonObject Machine(VmConfig config, string kernel, string vsock, IReadOnlyDictionary<string, string> sockets, bool shared)
    {
        var payload = new JsonObject { ["kernel"] = kernel, ["cmdline"] = KernelCommandLine.With(config.CommandLine, "panic=-1") };
        if (config.Initrd is { } initrd)
        {
            payload["initramfs"] = initrd;
        }
        var memory = new JsonObject { ["size"] = config.MemoryBytes, ["shared"] = shared };
        if (config.MaxMemoryBytes > config.MemoryBytes)
        {
            memory["hotplug_size"] = config.MaxMemoryBytes - config.MemoryBytes;
        }
        var machine = new JsonObject
        {
            ["cpus"] = new JsonObject { ["boot_vcpus"] = config.Vcpus, ["max_vcpus"] = Math.Max(config.Vcpus, config.MaxVcpus) },
            ["memory"] = memory,
            ["payload"] = payload,
            ["disks"] = new JsonArray([.. config.Disks.Select(Disk)]),
            ["net"] = new JsonArray([.. config.Nets.Where(net => net.Tap is null).Select(Net)]),
            ["fs"] = new JsonArray([.. config.FileSystems.Select(share => FileSystem(share, sockets[share.Id]))]),
            ["serial"] = config.ConsoleLog is { } log ? new JsonObject { ["mode"] = "File", ["file"] = log } : new JsonObject { ["mode"] = "Null" },
            ["console"] = new JsonObject { ["mode"] = "Off" },
            // How a panic is told from a reset, when the guest has the driver.
            ["pvpanic"] = true,
        };
        if (config.Vsock is { } device)
        {
            machine["vsock"] = new JsonObject { ["cid"] = device.ContextId, ["socket"] = vsock };
        }
        return machine;
    }

    internal static JsonObject Disk(VmDisk disk) =>
        new() { ["id"] = disk.Id, ["path"] = disk.Path, ["readonly"] = disk.ReadOnly, ["serial"] = disk.Id, ["image_type"] = "Raw" };

    internal static JsonObject Net(VmNet net)
    {
        var device = new JsonObject { ["id"] = net.Id, ["mac"] = net.MacAddress };
        if (net.TapName is { } name)
        {
            device["tap"] = name;
        }
        return device;
    }

    internal static JsonObject FileSystem(VmFileSystem share, string socket) =>
        new() { ["id"] = share.Id, ["tag"] = share.Tag, ["socket"] = socket, ["num_queues"] = 1, ["queue_size"] = 1024 };
}
