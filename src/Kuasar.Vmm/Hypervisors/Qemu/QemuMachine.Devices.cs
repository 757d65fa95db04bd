using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <content>Devices that come and go: each takes a root port.</content>
internal sealed partial class QemuMachine
{
    private readonly Dictionary<string, TaskCompletionSource> _deleted = [];

    private protected override Task AddDeviceCoreAsync(VmDevice device, CancellationToken cancellationToken) => PlugAsync(device, cancellationToken);

    private async Task PlugAsync(VmDevice device, CancellationToken cancellationToken)
    {
        var slot = FreeSlot();
        Note(record => Entry(device.Id).Slot = slot);
        switch (device)
        {
            case VmDisk disk:
                await Qmp.ExecuteAsync("blockdev-add", QemuCommandLine.BlockNode(disk.Id, disk.Path, disk.ReadOnly), cancellationToken).ConfigureAwait(false);
                await DeviceAddAsync(disk.Id, QemuCommandLine.DiskDevice(disk, _options.Machine, slot), disk: true, cancellationToken).ConfigureAwait(false);
                break;
            case VmNet net:
                if (net.Tap is { } tap)
                {
                    await Qmp.ExecuteAsync("getfd", new JsonObject { ["fdname"] = QemuCommandLine.Backend(net.Id) }, cancellationToken, tap).ConfigureAwait(false);
                }
                await Qmp.ExecuteAsync("netdev_add", QemuCommandLine.NetBackend(net), cancellationToken).ConfigureAwait(false);
                await DeviceAddAsync(net.Id, QemuCommandLine.NetDevice(net, _options.Machine, slot), disk: false, cancellationToken).ConfigureAwait(false);
                break;
            case VmFileSystem fileSystem:
                var socket = await StartVirtiofsAsync(fileSystem.Id, fileSystem.SharedDirectory, _options.Virtiofsd, cancellationToken).ConfigureAwait(false);
                await Qmp.ExecuteAsync("chardev-add", QemuCommandLine.SocketBackend(fileSystem.Id, socket), cancellationToken).ConfigureAwait(false);
                await DeviceAddAsync(fileSystem.Id, QemuCommandLine.FileSystemDevice(fileSystem, _options.Machine, slot), disk: false, cancellationToken).ConfigureAwait(false);
                break;
        }
    }

    /// <summary>When it fails, what was put behind the device goes too.</summary>
    private async Task DeviceAddAsync(string id, JsonObject device, bool disk, CancellationToken cancellationToken)
    {
        try
        {
            await Qmp.ExecuteAsync("device_add", device, cancellationToken).ConfigureAwait(false);
        }
        catch (VmException)
        {
            await RemoveBackendAsync(Entry(id)).ConfigureAwait(false);
            throw;
        }
    }

    private protected override async Task RemoveDeviceCoreAsync(VmDeviceRecord device, CancellationToken cancellationToken)
    {
        var name = QemuCommandLine.Name(device.Id);
        TaskCompletionSource deleted;
        lock (_deleted)
        {
            deleted = _deleted[name] = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
        if (device.FileSystem is not null)
        {
            ExpectEnd(device.Id);
        }
        try
        {
            await Qmp.ExecuteAsync("device_del", new JsonObject { ["id"] = name }, cancellationToken).ConfigureAwait(false);
            // The guest is asked, and QEMU says when it has let go.
            await deleted.Task.WaitAsync(_options.CommandTimeout, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            if (device.FileSystem is not null)
            {
                ExpectEnd(device.Id, expected: false);
            }
            if (e is TimeoutException)
            {
                throw new VmException(VmError.TimedOut, $"the guest does not let go of {device.Id}", e);
            }
            throw;
        }
        finally
        {
            lock (_deleted)
            {
                _deleted.Remove(name);
            }
        }
        await RemoveBackendAsync(device).ConfigureAwait(false);
    }

    private async Task RemoveBackendAsync(VmDeviceRecord device)
    {
        var backend = QemuCommandLine.Backend(device.Id);
        var (command, arguments) = device.KindCase switch
        {
            VmDeviceRecord.KindOneofCase.Disk => ("blockdev-del", new JsonObject { ["node-name"] = backend }),
            VmDeviceRecord.KindOneofCase.Net => ("netdev_del", new JsonObject { ["id"] = backend }),
            _ => ("chardev-remove", new JsonObject { ["id"] = backend }),
        };
        try
        {
            await Qmp.ExecuteAsync(command, arguments, CancellationToken.None).ConfigureAwait(false);
        }
        catch (VmException e) when (e.Error == VmError.Refused)
        {
            // There was none.
        }
        if (device.FileSystem is not null)
        {
            await EndProcessAsync(device.Id).ConfigureAwait(false);
        }
    }

    /// <summary>An earlier life died while a device came or went: one that was coming is removed, and one that was going goes.</summary>
    private async Task FinishChangesAsync(CancellationToken cancellationToken)
    {
        foreach (var device in Record.Devices.Where(device => device.Change != VmDeviceRecord.Types.Change.None).ToArray())
        {
            try
            {
                await RemoveDeviceCoreAsync(device, cancellationToken).ConfigureAwait(false);
            }
            catch (VmException e) when (e.Error == VmError.Refused)
            {
                await RemoveBackendAsync(device).ConfigureAwait(false);
            }
            Note(record => record.Devices.Remove(device));
        }
    }

    private void OnDeleted(string name)
    {
        lock (_deleted)
        {
            if (_deleted.TryGetValue(name, out var waiting))
            {
                waiting.TrySetResult();
            }
        }
    }

    private VmDeviceRecord Entry(string id) => Record.Devices.First(device => device.Id == id);

    private string FreeSlot()
    {
        var slots = int.Parse(Record.Driver[SlotsKey], CultureInfo.InvariantCulture);
        return Enumerable.Range(1, slots).Select(QemuCommandLine.SlotName).FirstOrDefault(slot => Record.Devices.All(device => device.Slot != slot))
            ?? throw new VmException(VmError.Refused, $"all {slots} slots for devices are taken");
    }
}
