using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Hypervisors.Qemu;

internal sealed partial class QemuMachine
{
    private protected override async Task AddDeviceCoreAsync(VmDevice device, CancellationToken cancellationToken)
    {
        RequireThawed();
        var slot = FreeSlot();
        Note(_ => Entry(device.Id).Slot = slot);
        await PlugAsync(device, slot, cancellationToken).ConfigureAwait(false);
    }

    private protected override async Task RemoveDeviceCoreAsync(VmDeviceRecord device, CancellationToken cancellationToken)
    {
        if (State == VmState.Paused)
        {
            throw new VmException(VmError.WrongState, "a guest that stands still lets go of nothing");
        }
        await UnplugAsync(device, cancellationToken).ConfigureAwait(false);
    }

    private protected override async Task ResizeCoreAsync(int? vcpus, long? memoryBytes, CancellationToken cancellationToken)
    {
        // Both what is there, and what may be plugged in: there with a path in QEMU's tree.
        var all = (await AskAsync("query-hotpluggable-cpus", null, cancellationToken).ConfigureAwait(false) as JsonArray ?? []).OfType<JsonObject>().ToArray();
        var present = all.Count(cpu => cpu.ContainsKey("qom-path"));
        if (vcpus < present)
        {
            throw new VmException(VmError.Unsupported, $"the machine has {present} vcpus; QEMU's only grow");
        }
        Note(record => record.Driver[ResizedKey] = "true");
        // QEMU lists the last first.
        foreach (var cpu in all.Where(cpu => !cpu.ContainsKey("qom-path")).Reverse().Take((vcpus ?? present) - present))
        {
            var arguments = cpu["props"]!.DeepClone().AsObject();
            arguments["driver"] = cpu["type"]!.GetValue<string>();
            arguments["id"] = $"cpu{++present}";
            await AskAsync("device_add", arguments, cancellationToken).ConfigureAwait(false);
        }
    }

    private string FreeSlot()
    {
        var taken = Record.Devices.Select(device => device.Slot).ToHashSet();
        for (var i = 0; i < Ports; i++)
        {
            if (i.ToString(CultureInfo.InvariantCulture) is var slot && !taken.Contains(slot))
            {
                return slot;
            }
        }
        throw new VmException(VmError.Refused, $"the machine has no more than {Ports} slots, and all are taken");
    }

    /// <summary>What is behind it first, then itself; all of it or nothing.</summary>
    private async Task PlugAsync(VmDevice device, string slot, CancellationToken cancellationToken)
    {
        try
        {
            switch (device)
            {
                case VmDisk disk:
                    await AskAsync("blockdev-add", QemuDevice.Block(disk, slot), cancellationToken).ConfigureAwait(false);
                    break;
                case VmNet net:
                    await AddTapAsync(net, slot, cancellationToken).ConfigureAwait(false);
                    break;
                case VmFileSystem share:
                    var socket = await StartVirtiofsAsync(share.Id, share.SharedDirectory, _options.Virtiofsd!, cancellationToken).ConfigureAwait(false);
                    await AskAsync("chardev-add", QemuDevice.Socket(slot, socket), cancellationToken).ConfigureAwait(false);
                    break;
            }
            // QEMU does it also for who has given up, and then what is behind it could not go: the answer is waited for.
            await AskAsync("device_add", QemuDevice.Front(device, slot, IsPci), CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception e) when (e is not VmException { Error: VmError.Ended })
        {
            // Whatever the reason, all of it must go, and nobody may be waited for who has given up.
            await DropBackendAsync(device is VmDisk, device is VmNet, device.Id, slot).ConfigureAwait(false);
            throw;
        }
    }

    private async Task AddTapAsync(VmNet net, string slot, CancellationToken cancellationToken)
    {
        if (net.Tap is { } tap)
        {
            await GiveAsync(QemuDevice.Netdev(slot), tap, cancellationToken).ConfigureAwait(false);
        }
        await AskAsync("netdev_add", QemuDevice.Tap(net, slot), cancellationToken).ConfigureAwait(false);
    }

    private Task<JsonNode?> GiveAsync(string name, SafeFileHandle handle, CancellationToken cancellationToken) =>
        Qmp.ExecuteAsync("getfd", new JsonObject { ["fdname"] = name }, cancellationToken, handle);

    private async Task UnplugAsync(VmDeviceRecord device, CancellationToken cancellationToken)
    {
        var hasDaemon = device.FileSystem is not null;
        if (hasDaemon)
        {
            ExpectEnd(device.Id);
        }
        try
        {
            await EjectAsync(device, cancellationToken).ConfigureAwait(false);
        }
        catch when (hasDaemon)
        {
            ExpectEnd(device.Id, expected: false);
            throw;
        }
        await DropBackendAsync(device.Disk is not null, device.Net is not null, device.Id, device.Slot).ConfigureAwait(false);
    }

    private async Task EjectAsync(VmDeviceRecord device, CancellationToken cancellationToken)
    {
        var id = QemuDevice.Id(device.Slot);
        var unplug = _events.UnplugOf(id);
        try
        {
            await AskAsync("device_del", new JsonObject { ["id"] = id }, cancellationToken).ConfigureAwait(false);
        }
        catch (VmException e) when (e.Error == VmError.Refused)
        {
            // Not there any more; or asked for before.
            if (!await HasFrontAsync(id, cancellationToken).ConfigureAwait(false))
            {
                _events.ForgetUnplug(id);
                return;
            }
        }
        try
        {
            await unplug.WaitAsync(_options.CommandTimeout, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException e)
        {
            throw new VmException(VmError.TimedOut, $"the guest has not let go of {device.Id} within {_options.CommandTimeout.TotalSeconds:0.#} s", e);
        }
        finally
        {
            _events.ForgetUnplug(id);
        }
    }

    private async Task<bool> HasFrontAsync(string id, CancellationToken cancellationToken)
    {
        var all = await AskAsync("qom-list", new JsonObject { ["path"] = "/machine/peripheral" }, cancellationToken).ConfigureAwait(false) as JsonArray ?? [];
        return all.Any(entry => entry?["name"]?.GetValue<string>() == id);
    }

    /// <summary>Removes what is, or was to be, behind a device; what is not there is fine.</summary>
    private async Task DropBackendAsync(bool isDisk, bool isNet, string id, string slot)
    {
        if (isDisk)
        {
            await DropAsync("blockdev-del", "node-name", QemuDevice.Node(slot)).ConfigureAwait(false);
        }
        else if (isNet)
        {
            await DropAsync("netdev_del", "id", QemuDevice.Netdev(slot)).ConfigureAwait(false);
            await DropAsync("closefd", "fdname", QemuDevice.Netdev(slot)).ConfigureAwait(false);
        }
        else
        {
            await DropAsync("chardev-remove", "id", QemuDevice.Chardev(slot)).ConfigureAwait(false);
            ExpectEnd(id);
            await EndProcessAsync(id).ConfigureAwait(false);
            Libc.TryRemoveFile(Environment.PathOf($"fs-{id}"));
        }
    }

    private async Task DropAsync(string command, string key, string value)
    {
        try
        {
            await AskAsync(command, new JsonObject { [key] = value }, CancellationToken.None).ConfigureAwait(false);
        }
        catch (VmException e) when (e.Error == VmError.Refused)
        {
            // It is not there.
        }
    }
}
