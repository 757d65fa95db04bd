using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox;
using Kuasar.Vmm;

namespace VmmSandboxer;

/// <summary>
/// The processes of a pod's machine as the sandboxer's: reaped where it reaps, or by its keeper, and recorded, so that they are ended if nobody
/// takes the pod over.
/// </summary>
internal sealed class HostVmProcesses(HostProcesses processes, SandboxSpec sandbox) : VmProcesses
{
    private IReadOnlyList<HostProcess>? _recovered;

    public override VmProcess Start(VmCommand command)
    {
        using var log = File.OpenHandle(command.LogFile, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);
        var process = processes.Start(command.Path, command.Arguments, stdout: log, stderr: log, workingDirectory: command.WorkingDirectory);
        sandbox.RecordProcess(process.ProcessId);
        return new HostVmProcess(process);
    }

    /// <remarks>Pids come again: the last is the one that was recorded with this machine.</remarks>
    public override VmProcess Adopt(ProcessRecord process) => new HostVmProcess(
        (_recovered ??= processes.Recover(sandbox)).LastOrDefault(recorded => recorded.ProcessId == process.Pid)
        ?? throw new VmException(VmError.WrongState, $"process {process.Pid} was not recorded with the sandbox"));

    private sealed class HostVmProcess(HostProcess process) : VmProcess
    {
        public override int ProcessId => process.ProcessId;

        public override Task<int> Exited { get; } = StatusAsync(process);

        public override bool Signal(int signal) => process.Signal(signal);

        private static async Task<int> StatusAsync(HostProcess process) => (int)(await process.Exited).Code;

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                process.Dispose();
            }
            base.Dispose(disposing);
        }
    }
}
