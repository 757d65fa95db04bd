using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
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

    private sealed class OwnVmProcess : VmProcess
    {
        private const int UnknownStatus = 255;

        private readonly SafeFileHandle? _pidfd;

        internal OwnVmProcess(int processId, SafeFileHandle? pidfd)
        {
            (ProcessId, _pidfd) = (processId, pidfd);
            Exited = pidfd is null ? Task.FromResult(UnknownStatus) : WaitAsync(pidfd);
        }

        public override int ProcessId { get; }

        public override Task<int> Exited { get; }

        public override bool Signal(int signal) => !Exited.IsCompleted && _pidfd is not null && Libc.SendSignal(_pidfd, signal);

        private static async Task<int> WaitAsync(SafeFileHandle pidfd)
        {
            // A machine has three processes and lives long: a thread each is what it costs to be told at once.
            var status = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
            var held = false;
            pidfd.DangerousAddRef(ref held);
            var thread = new Thread(
                () =>
                {
                    Libc.WaitReadable(pidfd, Timeout.InfiniteTimeSpan);
                    var reaped = Libc.TryReap(pidfd);
                    pidfd.DangerousRelease();
                    status.SetResult(reaped is null or Libc.NotOurs ? UnknownStatus : reaped.Value);
                },
                128 * 1024) { IsBackground = true, Name = "kuasar-vm-process" };
            thread.Start();
            return await status.Task.ConfigureAwait(false);
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                _pidfd?.Dispose();
            }
            base.Dispose(disposing);
        }
    }
}
