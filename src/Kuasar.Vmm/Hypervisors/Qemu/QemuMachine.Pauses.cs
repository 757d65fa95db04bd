using Kuasar.Linux;
using Kuasar.Vmm.Processes;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <content>
/// <code>
///   without daemons   stop, cont          QEMU's own pause: it answers, and can save the machine
///   with daemons      SIGSTOP, SIGCONT    all of QEMU stands still, its machine protocol too
/// </code>
/// QEMU's stop takes a vhost-user device's queues away from its daemon. One of rust-vmm's that is just about to look at them (for a kick of the
/// guest's, or for a byte, an end or a dial of the host's, at that moment or at any time until cont) ends its thread with an error and serves nobody
/// any more: the guest is cut off for good, and nothing tells of it. With QEMU frozen the queues stay; to its daemons the guest is slow, and no more.
/// The guest's clocks go on meanwhile.
/// </content>
internal sealed partial class QemuMachine
{
    private static readonly TimeSpan s_freezePoll = TimeSpan.FromMilliseconds(1);

    private bool HasDaemons => Record.ContextId != 0 || Record.Devices.Any(device => device.FileSystem is not null);

    private bool IsFrozen => StoppedProcess.Is(ProcessId);

    private protected override async Task PauseCoreAsync(CancellationToken cancellationToken)
    {
        if (HasDaemons)
        {
            await FreezeAsync(cancellationToken).ConfigureAwait(false);
            return;
        }
        _events.ExpectStop(true);
        try
        {
            await AskAsync("stop", null, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            _events.ExpectStop(false);
            throw;
        }
    }

    private protected override async Task ResumeCoreAsync(CancellationToken cancellationToken)
    {
        await ThawAsync(cancellationToken).ConfigureAwait(false);
        // Nothing to one that runs.
        await AskAsync("cont", null, cancellationToken).ConfigureAwait(false);
        _events.ExpectStop(false);
    }

    private async Task FreezeAsync(CancellationToken cancellationToken)
    {
        var process = HypervisorProcess;
        try
        {
            process.Signal(Libc.SIGSTOP);
            using var timer = new CancellationTokenSource(_options.CommandTimeout, Environment.TimeProvider);
            while (!StoppedProcess.Is(process.ProcessId))
            {
                if (process.Exited.IsCompleted)
                {
                    throw new VmException(VmError.Ended, "QEMU has gone");
                }
                if (timer.IsCancellationRequested)
                {
                    throw new VmException(VmError.TimedOut, $"QEMU has not stopped within {_options.CommandTimeout.TotalSeconds:0.#} s");
                }
                await Task.Delay(s_freezePoll, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
            }
        }
        catch
        {
            process.Signal(Libc.SIGCONT);
            throw;
        }
    }

    /// <summary>Has QEMU go on, and connects to it where the machine was taken over frozen.</summary>
    private async Task ThawAsync(CancellationToken cancellationToken)
    {
        HypervisorProcess.Signal(Libc.SIGCONT);
        if (_qmp is null && !await ConnectAsync(cancellationToken).ConfigureAwait(false))
        {
            throw new VmException(VmError.Ended, $"QEMU does not listen at {MonitorPath}");
        }
    }

    private void RequireThawed()
    {
        if (State == VmState.Paused && IsFrozen)
        {
            throw new VmException(VmError.WrongState, "a machine of QEMU's with vsock or shared folders takes no devices while it is paused");
        }
    }
}
