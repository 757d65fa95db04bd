using System.Text.Json.Nodes;
using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors.Rest;

namespace Kuasar.Vmm.Hypervisors;

internal sealed partial class CloudHypervisorMachine
{
    private protected override async Task AddDeviceCoreAsync(VmDevice device, CancellationToken cancellationToken)
    {
        switch (device)
        {
            case VmDisk disk:
                await PutAsync("vm.add-disk", CloudHypervisorConfig.Disk(disk), cancellationToken).ConfigureAwait(false);
                break;
            case VmNet net:
                await AddNetAsync(net, cancellationToken).ConfigureAwait(false);
                break;
            case VmFileSystem share:
                await AddFileSystemAsync(share, cancellationToken).ConfigureAwait(false);
                break;
        }
    }

    private async Task AddFileSystemAsync(VmFileSystem share, CancellationToken cancellationToken)
    {
        var socket = await StartVirtiofsAsync(share.Id, share.SharedDirectory, _options.Virtiofsd!, cancellationToken).ConfigureAwait(false);
        try
        {
            await PutAsync("vm.add-fs", CloudHypervisorConfig.FileSystem(share, socket), cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await EndProcessAsync(share.Id).ConfigureAwait(false);
            throw;
        }
    }

    // An open tap goes beside the request; the API has no field for it.
    private async Task AddNetAsync(VmNet net, CancellationToken cancellationToken)
    {
        const string Action = $"{Root}/vm.add-net";
        var reply = await _api.AskAsync(
            HttpMethod.Put, Action, CloudHypervisorConfig.Net(net), cancellationToken, handles: net.Tap is { } tap ? [tap] : null).ConfigureAwait(false);
        if (!reply.IsSuccess)
        {
            throw _api.Refused(HttpMethod.Put, Action, reply);
        }
    }

    private protected override async Task RemoveDeviceCoreAsync(VmDeviceRecord device, CancellationToken cancellationToken)
    {
        var hasDaemon = device.FileSystem is not null;
        if (hasDaemon)
        {
            ExpectEnd(device.Id);
        }
        try
        {
            await EjectAsync(device.Id, cancellationToken).ConfigureAwait(false);
        }
        catch when (hasDaemon)
        {
            ExpectEnd(device.Id, expected: false);
            throw;
        }
        if (hasDaemon)
        {
            await EndProcessAsync(device.Id).ConfigureAwait(false);
        }
    }

    /// <summary>Asks the guest for the device, and waits until it has given it back. One that is not there is fine.</summary>
    private async Task EjectAsync(string id, CancellationToken cancellationToken)
    {
        const string Action = $"{Root}/vm.remove-device";
        var reply = await _api.AskAsync(HttpMethod.Put, Action, new JsonObject { ["id"] = id }, cancellationToken).ConfigureAwait(false);
        if (!reply.IsSuccess && reply.Status != ApiReply.NotFound)
        {
            throw _api.Refused(HttpMethod.Put, Action, reply);
        }
        using var timer = new CancellationTokenSource(s_ejectLimit, Environment.TimeProvider);
        while (await HasDeviceAsync(id, cancellationToken).ConfigureAwait(false))
        {
            if (timer.IsCancellationRequested)
            {
                throw new VmException(VmError.TimedOut, $"the guest has not let go of {id} within {s_ejectLimit.TotalSeconds} s");
            }
            await Task.Delay(s_ejectPoll, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }

    // The tree has a device twice: as itself, and as what sits on the PCI bus.
    private async Task<bool> HasDeviceAsync(string id, CancellationToken cancellationToken)
    {
        var info = await _api.CallAsync(HttpMethod.Get, $"{Root}/vm.info", null, cancellationToken).ConfigureAwait(false);
        return info?["device_tree"] is JsonObject tree && (tree.ContainsKey(id) || tree.ContainsKey($"_virtio-pci-{id}"));
    }
}
