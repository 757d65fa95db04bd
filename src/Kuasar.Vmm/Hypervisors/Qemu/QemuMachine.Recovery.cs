using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Hypervisors.Qemu;

internal sealed partial class QemuMachine
{
    /// <inheritdoc cref="VirtualMachine.TakeOverAsync"/>
    internal Task RecoverAsync(CancellationToken cancellationToken) => TakeOverAsync(SettleAsync, cancellationToken);

    private async Task SettleAsync(CancellationToken cancellationToken)
    {
        _events.ExpectStop(State == VmState.Paused);
        if (State == VmState.Paused && IsFrozen)
        {
            // It cannot be spoken to until it is resumed.
            return;
        }
        await ThawAsync(cancellationToken).ConfigureAwait(false);
        switch (await StatusAsync(cancellationToken).ConfigureAwait(false), State)
        {
            // It was being paused or resumed: what had been written down holds.
            case ("paused" or "prelaunch" or "postmigrate", VmState.Running):
                await AskAsync("cont", null, cancellationToken).ConfigureAwait(false);
                break;
            case ("running", VmState.Paused):
                await PauseCoreAsync(cancellationToken).ConfigureAwait(false);
                break;
            case ("internal-error" or "io-error", _):
                await LookAsync().ConfigureAwait(false);
                return;
        }
        foreach (var device in Record.Devices.Where(device => device.Change != VmDeviceRecord.Types.Change.None).ToArray())
        {
            if (device.Slot.Length == 0)
            {
                if (device.Change == VmDeviceRecord.Types.Change.Adding)
                {
                    // A slot is written down before QEMU is asked for anything.
                    Note(record => record.Devices.Remove(device));
                }
                continue;
            }
            // A guest that stands still keeps it until it runs; then this is the next who takes over's.
            if (State == VmState.Running)
            {
                await UnplugAsync(device, cancellationToken).ConfigureAwait(false);
                Note(record => record.Devices.Remove(device));
            }
        }
    }
}
