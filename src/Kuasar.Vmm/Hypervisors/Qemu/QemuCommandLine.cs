using System.Globalization;
using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>
/// How a machine and its devices are called by QEMU. Whatever holds a name or path of ours is JSON, where QEMU takes it, so that nothing in
/// it is syntax.
/// </summary>
internal static class QemuCommandLine
{
    /// <summary>What <c>-M microvm</c> calls the variant of a device, and what <c>-M q35</c> does.</summary>
    private static string Suffix(QemuMachineType machine) => machine == QemuMachineType.MicroVm ? "device" : "pci";

    /// <summary>All but the program. The machine stands still until QMP says <c>cont</c>.</summary>
    internal static List<string> Build(VmConfig config, QemuOptions options, bool kvm, int slots, string qmp, Func<string, string> socketOf, string? incoming)
    {
        var memory = config.MemoryBytes.ToString(CultureInfo.InvariantCulture);
        var arguments = new List<string>
        {
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S",
            "-accel", kvm ? "kvm" : "tcg",
            "-m", $"{memory}B",
            "-object", new JsonObject
            {
                ["qom-type"] = "memory-backend-memfd", ["id"] = "mem", ["size"] = config.MemoryBytes, ["share"] = true,
            }.ToJsonString(),
            "-smp", config.Vcpus.ToString(CultureInfo.InvariantCulture),
            "-qmp", $"unix:{Escape(qmp)},server=on,wait=off",
            "-kernel", config.Kernel,
            "-append", KernelCommandLine(config),
        };
        if (kvm)
        {
            arguments.AddRange(["-cpu", "host"]);
        }
        foreach (var folder in options.FirmwareFolders)
        {
            arguments.AddRange(["-L", folder]);
        }
        if (options.Machine == QemuMachineType.MicroVm)
        {
            // SeaBIOS leaves a timer ticking that such a kernel never touches.
            arguments.AddRange(["-M", "microvm,memory-backend=mem", "-bios", "qboot.rom"]);
        }
        else
        {
            arguments.AddRange(["-M", "q35,memory-backend=mem"]);
            for (var slot = 1; slot <= slots; slot++)
            {
                Add(arguments, "-device", new JsonObject { ["driver"] = "pcie-root-port", ["id"] = SlotName(slot), ["chassis"] = slot, ["slot"] = slot });
            }
        }
        if (config.Initrd is { } initrd)
        {
            arguments.AddRange(["-initrd", initrd]);
        }
        arguments.AddRange(config.ConsoleLog is { } log
            ? ["-chardev", $"file,id=console,path={Escape(log)},append=on", "-serial", "chardev:console"]
            : ["-serial", "null"]);
        AddDevices(arguments, config, options.Machine, socketOf);
        if (incoming is not null)
        {
            arguments.AddRange(["-incoming", incoming]);
        }
        return arguments;
    }

    private static void AddDevices(List<string> arguments, VmConfig config, QemuMachineType machine, Func<string, string> socketOf)
    {
        Add(arguments, "-device", new JsonObject { ["driver"] = $"virtio-rng-{Suffix(machine)}", ["rng"] = "rng" }, before: ["-object", "rng-random,id=rng,filename=/dev/urandom"]);
        if (config.Vsock is not null)
        {
            arguments.AddRange(["-chardev", $"socket,id=c-vsock,path={Escape(socketOf("vsock"))}"]);
            Add(arguments, "-device", new JsonObject { ["driver"] = $"vhost-user-vsock-{Suffix(machine)}", ["id"] = "vsock", ["chardev"] = "c-vsock" });
        }
        foreach (var disk in config.Disks)
        {
            Add(arguments, "-blockdev", BlockNode(disk.Id, disk.Path, disk.ReadOnly));
            Add(arguments, "-device", DiskDevice(disk, machine, null));
        }
        foreach (var fileSystem in config.FileSystems)
        {
            arguments.AddRange(["-chardev", $"socket,id={Backend(fileSystem.Id)},path={Escape(socketOf(fileSystem.Id))}"]);
            Add(arguments, "-device", FileSystemDevice(fileSystem, machine, null));
        }
        foreach (var net in config.Nets.Where(net => net.Tap is null))
        {
            Add(arguments, "-netdev", NetBackend(net));
            Add(arguments, "-device", NetDevice(net, machine, null));
        }
    }

    /// <summary>A root port, which takes one device.</summary>
    internal static string SlotName(int slot) => string.Create(CultureInfo.InvariantCulture, $"slot{slot}");

    /// <summary>A device's name, and that of what is behind it.</summary>
    internal static string Name(string id) => "d-" + id;

    /// <inheritdoc cref="Name"/>
    internal static string Backend(string id) => "b-" + id;

    internal static JsonObject BlockNode(string id, string path, bool readOnly) => new()
    {
        ["driver"] = "raw",
        ["node-name"] = Backend(id),
        ["read-only"] = readOnly,
        ["file"] = new JsonObject { ["driver"] = IsFile(path) ? "file" : "host_device", ["filename"] = path, ["read-only"] = readOnly },
    };

    internal static JsonObject DiskDevice(VmDisk disk, QemuMachineType machine, string? slot) =>
        On(slot, new() { ["driver"] = $"virtio-blk-{Suffix(machine)}", ["id"] = Name(disk.Id), ["drive"] = Backend(disk.Id), ["serial"] = disk.Id[..Math.Min(disk.Id.Length, 20)] });

    internal static JsonObject FileSystemDevice(VmFileSystem fileSystem, QemuMachineType machine, string? slot) =>
        On(slot, new() { ["driver"] = $"vhost-user-fs-{Suffix(machine)}", ["id"] = Name(fileSystem.Id), ["chardev"] = Backend(fileSystem.Id), ["tag"] = fileSystem.Tag });

    internal static JsonObject SocketBackend(string id, string path) => new()
    {
        ["id"] = Backend(id),
        ["backend"] = new JsonObject
        {
            ["type"] = "socket",
            ["data"] = new JsonObject
            {
                ["server"] = false,
                ["addr"] = new JsonObject { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = path } },
            },
        },
    };

    /// <summary>A tap by its name, or by the name that getfd was given.</summary>
    internal static JsonObject NetBackend(VmNet net) => net.Tap is null
        ? new() { ["type"] = "tap", ["id"] = Backend(net.Id), ["ifname"] = net.TapName, ["script"] = "no", ["downscript"] = "no" }
        : new() { ["type"] = "tap", ["id"] = Backend(net.Id), ["fd"] = Backend(net.Id) };

    internal static JsonObject NetDevice(VmNet net, QemuMachineType machine, string? slot)
    {
        var device = On(slot, new() { ["driver"] = $"virtio-net-{Suffix(machine)}", ["id"] = Name(net.Id), ["netdev"] = Backend(net.Id), ["mac"] = net.MacAddress });
        if (machine == QemuMachineType.Q35)
        {
            // Nobody boots from it.
            device["romfile"] = "";
        }
        return device;
    }

    private static JsonObject On(string? slot, JsonObject device)
    {
        if (slot is not null)
        {
            device["bus"] = slot;
        }
        return device;
    }

    private static bool IsFile(string path) => (File.GetAttributes(path) & FileAttributes.Device) == 0;

    /// <summary>
    /// With -no-reboot, panic=-1 makes of a panic an end. The guest's TSC is the host's under emulation too, and a guest that measures it by a
    /// timer on a busy host measures wrongly, or for ever. What the user says comes last, and wins.
    /// </summary>
    private static string KernelCommandLine(VmConfig config) => string.Create(CultureInfo.InvariantCulture,
        $"{(config.ConsoleLog is null ? "" : "console=ttyS0 ")}panic=-1 reboot=t tsc_early_khz={TscKilohertz()} {config.CommandLine}").TrimEnd();

    private static long TscKilohertz()
    {
        var line = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("cpu MHz", StringComparison.Ordinal)) ?? "cpu MHz : 2000";
        return (long)(double.Parse(line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..], CultureInfo.InvariantCulture) * 1000);
    }

    private static void Add(List<string> arguments, string option, JsonObject value, IReadOnlyList<string>? before = null)
    {
        arguments.AddRange(before ?? []);
        arguments.AddRange([option, value.ToJsonString()]);
    }

    private static string Escape(string value) => value.Replace(",", ",,", StringComparison.Ordinal);
}
