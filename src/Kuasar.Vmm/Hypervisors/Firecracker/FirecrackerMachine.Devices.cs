using System.Text.Json.Nodes;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Hypervisors;

internal sealed partial class FirecrackerMachine
{
    private const int MibShift = 20;
    private static readonly TimeSpan s_memoryLimit = TimeSpan.FromSeconds(10), s_memoryPoll = TimeSpan.FromMilliseconds(20);

    private protected override Task AddDeviceCoreAsync(VmDevice device, CancellationToken cancellationToken)
    {
        var (path, body) = device switch
        {
            VmDisk disk => FirecrackerConfig.Disk(disk),
            VmNet net => FirecrackerConfig.Net(net),
            _ => throw new VmException(VmError.Unsupported, $"Firecracker has no device like {device.Id}"),
        };
        return _api.CallAsync(HttpMethod.Put, path, body, cancellationToken);
    }

    private protected override Task RemoveDeviceCoreAsync(VmDeviceRecord device, CancellationToken cancellationToken)
    {
        var path = device.Disk is not null ? FirecrackerConfig.DiskPath(device.Id) : FirecrackerConfig.NetPath(device.Id);
        return _api.CallAsync(HttpMethod.Delete, path, null, cancellationToken);
    }

    private protected override async Task ResizeCoreAsync(int? vcpus, long? memoryBytes, CancellationToken cancellationToken)
    {
        var plugged = (memoryBytes!.Value - Record.MemoryBytes) >> MibShift;
        VmConfig.Require(plugged >= 0, $"the memory that the machine was booted with, {Record.MemoryBytes} bytes, cannot be taken back");
        await _api.CallAsync(HttpMethod.Patch, "/hotplug/memory", new JsonObject { ["requested_size_mib"] = plugged }, cancellationToken).ConfigureAwait(false);
        using var timer = new CancellationTokenSource(s_memoryLimit, Environment.TimeProvider);
        while (await PluggedMibAsync(cancellationToken).ConfigureAwait(false) != plugged)
        {
            if (timer.IsCancellationRequested)
            {
                throw new VmException(VmError.TimedOut, $"the guest has not taken or given back memory within {s_memoryLimit.TotalSeconds} s");
            }
            await Task.Delay(s_memoryPoll, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<long?> PluggedMibAsync(CancellationToken cancellationToken)
    {
        var status = await _api.CallAsync(HttpMethod.Get, "/hotplug/memory", null, cancellationToken).ConfigureAwait(false);
        return status?["plugged_size_mib"]?.GetValue<long>();
    }

    /// <inheritdoc cref="VirtualMachine.TakeOverAsync"/>
    internal Task RecoverAsync(CancellationToken cancellationToken) => TakeOverAsync(SettleAsync, cancellationToken);

    private async Task SettleAsync(CancellationToken cancellationToken)
    {
        var info = await _api.CallAsync(HttpMethod.Get, "/", null, cancellationToken).ConfigureAwait(false);
        switch (info?["state"]?.GetValue<string>(), State)
        {
            case ("Paused", VmState.Running):
                await ResumeCoreAsync(cancellationToken).ConfigureAwait(false);
                break;
            case ("Running", VmState.Paused):
                await PauseCoreAsync(cancellationToken).ConfigureAwait(false);
                break;
            case ("Not started", _):
                await KillAsync().ConfigureAwait(false);
                return;
        }
        foreach (var device in Record.Devices.Where(device => device.Change != VmDeviceRecord.Types.Change.None).ToArray())
        {
            try
            {
                await RemoveDeviceCoreAsync(device, cancellationToken).ConfigureAwait(false);
            }
            catch (VmException e) when (e.Error == VmError.Refused)
            {
                // It has one answer to all mistakes; that there is no such device is the likely one.
            }
            Note(record => record.Devices.Remove(device));
        }
    }
}
