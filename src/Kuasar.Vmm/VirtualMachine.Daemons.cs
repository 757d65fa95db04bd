using System.Text;

namespace Kuasar.Vmm;

/// <content>The daemons that serve a machine's devices over vhost-user sockets.</content>
public abstract partial class VirtualMachine
{
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(2);

    /// <summary>The vhost-user socket of a daemon.</summary>
    private protected string DaemonSocket(string role) => Environment.PathOf("u-" + role);

    /// <summary>The log of a process of the machine, which stays when the machine has gone.</summary>
    private protected string LogOf(string role) => Environment.PathOf(role + ".log");

    /// <summary>virtiofsd for a shared folder, ready to be connected to.</summary>
    private protected Task StartVirtiofsdAsync(VmProgram program, VmFileSystem fileSystem, TimeSpan limit, CancellationToken cancellationToken) =>
        StartDaemonAsync(
            fileSystem.Id, program, ["--socket-path", DaemonSocket(fileSystem.Id), "--shared-dir", fileSystem.SharedDirectory, "--sandbox", "chroot"],
            limit, cancellationToken);

    /// <summary>vhost-device-vsock, ready to be connected to by the hypervisor, and by us at <see cref="VsockPath"/>.</summary>
    private protected Task StartVsockDaemonAsync(VmProgram program, uint contextId, TimeSpan limit, CancellationToken cancellationToken) =>
        StartDaemonAsync(
            VsockRole, program, ["--vm", $"guest-cid={contextId},socket={DaemonSocket(VsockRole)},uds-path={VsockPath}"], limit, cancellationToken);

    private async Task StartDaemonAsync(string role, VmProgram program, IReadOnlyList<string> arguments, TimeSpan limit, CancellationToken cancellationToken)
    {
        var process = StartProcess(role, program.With(LogOf(role), arguments));
        await UntilAsync(() => File.Exists(DaemonSocket(role)), role, process, limit, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Waits until a process that was started is ready.</summary>
    /// <exception cref="VmException">Ended, with the end of its log; TimedOut.</exception>
    private protected async Task UntilAsync(Func<bool> ready, string role, VmProcess process, TimeSpan limit, CancellationToken cancellationToken)
    {
        var begin = Environment.TimeProvider.GetTimestamp();
        while (!ready())
        {
            if (process.Exited.IsCompletedSuccessfully)
            {
                throw new VmException(VmError.Ended, $"{role} ended with status {process.Exited.Result}: {TailOf(LogOf(role))}");
            }
            if (Environment.TimeProvider.GetElapsedTime(begin) > limit)
            {
                throw new VmException(VmError.TimedOut, $"{role} is not ready after {limit.TotalSeconds:0.#} s: {TailOf(LogOf(role))}");
            }
            await Task.Delay(s_poll, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The last of what a process has said, for an error's message.</summary>
    private protected static string TailOf(string file)
    {
        const int Length = 400;
        try
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            stream.Seek(Math.Max(0, stream.Length - Length), SeekOrigin.Begin);
            var tail = new byte[Length];
            return Encoding.UTF8.GetString(tail, 0, stream.Read(tail)).Trim();
        }
        catch (IOException)
        {
            return "";
        }
    }
}
