using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Vmm.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm;

/// <summary>Processes of machines as children of this process, which are reaped here, each by its pidfd.</summary>
/// <remarks>Not for a process that reaps all of its children elsewhere.</remarks>
public sealed class OwnVmProcesses : VmProcesses
{
    /// <inheritdoc/>
    public override VmProcess Start(VmCommand command)
    {
        ArgumentNullException.ThrowIfNull(command);
        using var log = Libc.Open(command.LogFile, Libc.O_WRONLY | Libc.O_APPEND | Libc.O_CREAT, 0x180 /* 0600 */);
        var pid = Libc.Spawn(new SpawnRequest(command.Path, command.Arguments)
        {
            Handles = [null, log, log], WorkingDirectory = command.WorkingDirectory, NewSession = true,
        });
        return new OwnVmProcess(pid, Libc.OpenProcess(pid) ?? throw new LinuxException("pidfd_open", Libc.ESRCH));
    }

    /// <inheritdoc/>
    public override VmProcess Adopt(ProcessRecord process)
    {
        ArgumentNullException.ThrowIfNull(process);
        return new OwnVmProcess(process.Pid, ProcessIdentity.Open(process));
    }

    // The pidfd is the watcher's, so that a child is reaped also when nobody holds this any more.
    private sealed class OwnVmProcess : VmProcess
    {
        private readonly SafeFileHandle? _pidfd;
        private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

        internal OwnVmProcess(int processId, SafeFileHandle? pidfd)
        {
            (ProcessId, _pidfd) = (processId, pidfd);
            if (pidfd is null)
            {
                _exited.SetResult(ExitWatcher.UnknownStatus);
            }
            else
            {
                ExitWatcher.Shared.Watch(pidfd, _exited);
            }
        }

        public override int ProcessId { get; }

        public override Task<int> Exited => _exited.Task;

        public override bool Signal(int signal)
        {
            try
            {
                return !Exited.IsCompleted && _pidfd is not null && Libc.SendSignal(_pidfd, signal);
            }
            catch (ObjectDisposedException)
            {
                return false;
            }
        }
    }
}
