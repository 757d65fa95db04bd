using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>QEMU's arguments for a machine.</summary>
internal sealed class QemuCommandLine
{
    private const string Memory = "mem";
    private const int FunctionsPerSlot = 8, FirstPortSlot = 4;

    private readonly List<string> _arguments = [];
    private readonly VmConfig _config;
    private readonly QemuOptions _options;
    private readonly bool _pci;

    private QemuCommandLine(VmConfig config, QemuOptions options) =>
        (_config, _options, _pci) = (config, options, options.Machine != QemuMachineType.MicroVm);

    /// <summary>All arguments.</summary>
    /// <param name="config">The machine's.</param>
    /// <param name="devices">Those of the record, with their slots.</param>
    /// <param name="ports">How many root ports there are.</param>
    /// <param name="options">The hypervisor's.</param>
    /// <param name="kvm">Or emulated.</param>
    /// <param name="monitor">The machine protocol's socket.</param>
    /// <param name="sockets">Of the daemons, by the devices' ids; the vsock daemon's by its role.</param>
    internal static IReadOnlyList<string> Of(
        VmConfig config, IEnumerable<VmDeviceRecord> devices, int ports, QemuOptions options, bool kvm, string monitor, IReadOnlyDictionary<string, string> sockets)
    {
        var line = new QemuCommandLine(config, options);
        line.AddMachine(kvm);
        line.Add("-qmp", $"unix:{Escape(monitor)},server=on,wait=off");
        line.AddConsole();
        line.AddFixedDevices(sockets);
        if (line._pci)
        {
            line.AddPorts(ports);
        }
        var slots = devices.ToDictionary(device => device.Id, device => device.Slot);
        foreach (var device in config.Disks.Cast<VmDevice>().Concat(config.Nets).Concat(config.FileSystems))
        {
            line.AddDevice(device, slots[device.Id], sockets);
        }
        return line._arguments;
    }

    /// <summary>What each QEMU of ours is started with, a probe too.</summary>
    internal static IReadOnlyList<string> Basics(QemuOptions options) =>
        [.. options.FirmwareFolders.SelectMany(folder => new[] { "-L", folder }), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];

    private void Add(params ReadOnlySpan<string> arguments) => _arguments.AddRange(arguments);

    private void AddMachine(bool kvm)
    {
        Add([.. Basics(_options)]);
        Add("-accel", kvm ? "kvm" : "tcg");
        if ((_options.Cpu ?? (kvm ? "host" : null)) is { } cpu)
        {
            Add("-cpu", cpu);
        }
        var size = $"{_config.MemoryBytes >> 20}M";
        // Shared: the daemons have the guest's memory mapped.
        Add("-object", $"memory-backend-memfd,id={Memory},size={size},share=on", "-m", size);
        Add("-machine", (_pci ? "q35,sata=off,smbus=off" : "microvm,rtc=on") + $",memory-backend={Memory}");
        if (!_pci)
        {
            // With SeaBIOS's timer left ticking, a kernel of ELF dies at random.
            Add("-bios", "qboot.rom");
        }
        Add("-smp", _config.MaxVcpus > _config.Vcpus ? $"{_config.Vcpus},maxcpus={_config.MaxVcpus}" : _config.Vcpus.ToString(CultureInfo.InvariantCulture));
        Add("-kernel", _config.Kernel);
        if (_config.Initrd is { } initrd)
        {
            Add("-initrd", initrd);
        }
        // With -no-reboot, panic=-1 makes of a panic an end.
        Add("-append", KernelCommandLine.With(
            _config.CommandLine,
            [.. _config.ConsoleLog is null ? [] : (string[])["console=ttyS0"], "panic=-1", "reboot=t", .. kvm ? [] : (string[])[$"tsc_early_khz={TimeStampCounter.Kilohertz}"]]));
    }

    private void AddConsole()
    {
        if (_config.ConsoleLog is { } log)
        {
            Add("-chardev", $"file,id=console,path={Escape(log)},append=on", "-serial", "chardev:console");
        }
    }

    private void AddFixedDevices(IReadOnlyDictionary<string, string> sockets)
    {
        if (sockets.TryGetValue(VirtualMachine.VsockRole, out var vsock))
        {
            Add("-chardev", $"socket,id=vsock,path={Escape(vsock)}");
            AddFront("vhost-user-vsock", ",id=vsock,chardev=vsock", 1);
        }
        AddFront("virtio-rng", "", 2);
        if (_pci)
        {
            AddFront("pvpanic", "", 3);
        }
    }

    private void AddFront(string driver, string properties, int address) =>
        Add("-device", QemuDevice.Driver(driver, _pci) + properties + (_pci ? $",bus=pcie.0,addr={address:x}" : ""));

    // Eight to a slot of the root bus.
    private void AddPorts(int count)
    {
        for (var i = 0; i < count; i++)
        {
            Add("-device", string.Create(
                CultureInfo.InvariantCulture,
                $"pcie-root-port,id={QemuDevice.Port($"{i}")},bus=pcie.0,chassis={i + 1},slot={i + 1},addr={FirstPortSlot + i / FunctionsPerSlot:x}.{i % FunctionsPerSlot},multifunction=on"));
        }
    }

    // A tap that was given open is plugged in before the vcpus start: a process inherits nothing.
    private void AddDevice(VmDevice device, string slot, IReadOnlyDictionary<string, string> sockets)
    {
        switch (device)
        {
            case VmDisk disk:
                Add("-blockdev", QemuDevice.Block(disk, slot).ToJsonString());
                break;
            case VmNet { Tap: not null }:
                return;
            case VmNet net:
                Add("-netdev", QemuDevice.Tap(net, slot).ToJsonString());
                break;
            case VmFileSystem:
                Add("-chardev", $"socket,id={QemuDevice.Chardev(slot)},path={Escape(sockets[device.Id])}");
                break;
        }
        Add("-device", QemuDevice.Front(device, slot, _pci).ToJsonString());
    }

    // A comma ends a value.
    private static string Escape(string path) => path.Replace(",", ",,", StringComparison.Ordinal);
}
