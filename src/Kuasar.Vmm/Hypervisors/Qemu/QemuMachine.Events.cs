using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <content>What QEMU says of itself.</content>
internal sealed partial class QemuMachine
{
    private volatile string? _shutdown;
    private volatile bool _panicked;

    private void OnEvent(string name, JsonObject data)
    {
        switch (name)
        {
            case "SHUTDOWN":
                _shutdown = data["reason"]?.GetValue<string>();
                break;
            case "GUEST_PANICKED":
                _panicked = true;
                break;
            case "DEVICE_DELETED" when data["device"] is { } device:
                OnDeleted(device.GetValue<string>());
                break;
            case "STOP" when State == VmState.Running:
                // Ours, or KVM's after an instruction that it cannot do.
                _ = CheckAsync();
                break;
        }
    }

    private async Task CheckAsync()
    {
        try
        {
            if (await StatusAsync(CancellationToken.None).ConfigureAwait(false) == "internal-error")
            {
                Fail("QEMU's state is internal-error: the accelerator has failed");
            }
        }
        catch (VmException)
        {
            // It ends by itself.
        }
    }

    private protected override async ValueTask<VmExit> ExitOfAsync(int status)
    {
        if (_qmp is { } qmp)
        {
            // What it said last is on its way.
            await Task.WhenAny(qmp.Closed, Task.Delay(s_lastWords, Environment.TimeProvider)).ConfigureAwait(false);
        }
        var reason = _panicked ? VmExitReason.GuestPanic : _shutdown switch
        {
            "guest-shutdown" => VmExitReason.GuestShutdown,
            "guest-reset" => IsPoweringDown ? VmExitReason.GuestShutdown : VmExitReason.GuestReset,
            "guest-panic" => VmExitReason.GuestPanic,
            "host-signal" or "host-qmp-quit" => VmExitReason.Killed,
            _ when status is 128 + 9 or 128 + 15 => VmExitReason.Killed,
            _ when status == 255 => VmExitReason.Unknown,
            _ => VmExitReason.HypervisorFailed,
        };
        var detail = $"QEMU ended with status {status}{(_shutdown is null ? "" : $" after {_shutdown}")}";
        return new VmExit(
            reason, Environment.TimeProvider.GetUtcNow(), reason == VmExitReason.HypervisorFailed ? $"{detail}: {LastWords(LogPath)}" : detail);
    }
}
