using Kuasar.Linux;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Hypervisors;

internal sealed partial class CloudHypervisorMachine
{
    /// <inheritdoc cref="VirtualMachine.TakeOverAsync"/>
    internal Task RecoverAsync(CancellationToken cancellationToken) => TakeOverAsync(SettleAsync, cancellationToken);

    private async Task SettleAsync(CancellationToken cancellationToken)
    {
        Libc.TryRemoveFile(KernelPath);
        var info = await _api.CallAsync(HttpMethod.Get, $"{Root}/vm.info", null, cancellationToken).ConfigureAwait(false);
        switch (info?["state"]?.GetValue<string>(), State)
        {
            case ("Paused", VmState.Running):
                await ResumeCoreAsync(cancellationToken).ConfigureAwait(false);
                break;
            case ("Running", VmState.Paused):
                await PauseCoreAsync(cancellationToken).ConfigureAwait(false);
                break;
            case ("Created" or "Shutdown", _):
                await KillAsync().ConfigureAwait(false);
                return;
        }
        foreach (var device in Record.Devices.Where(device => device.Change != VmDeviceRecord.Types.Change.None).ToArray())
        {
            await RemoveDeviceCoreAsync(device, cancellationToken).ConfigureAwait(false);
            Note(record => record.Devices.Remove(device));
        }
    }
}
