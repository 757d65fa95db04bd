using System.Text;
using Kuasar.Linux;
using Kuasar.Vmm.Processes;

namespace Kuasar.Vmm;

/// <content>Processes that listen on a socket in the machine's folder.</content>
public abstract partial class VirtualMachine
{
    private static readonly TimeSpan s_startLimit = TimeSpan.FromSeconds(10), s_startPoll = TimeSpan.FromMilliseconds(2);

    private string VirtiofsSocket(string id) => Environment.PathOf($"fs-{id}");

    /// <summary>Starts the daemon of a shared folder; its role is the device's id.</summary>
    /// <remarks>
    /// What is mounted below the folder is part of the one file system that the guest sees. Announced to it, each mount would be one of its own
    /// there, and Linux 6.1 has a BUG when such a one goes while files of it are being closed (fs/super.c: busy inodes after unmount).
    /// </remarks>
    /// <returns>The socket that the hypervisor is to connect to.</returns>
    /// <exception cref="VmException">It did not come up; it has been ended.</exception>
    private protected async Task<string> StartVirtiofsAsync(string id, string directory, VmProgram virtiofsd, CancellationToken cancellationToken)
    {
        var socket = VirtiofsSocket(id);
        await StartDaemonAsync(id, "virtiofsd", virtiofsd, ["--socket-path", socket, "--shared-dir", directory, "--sandbox", "chroot", "--no-announce-submounts"], socket, cancellationToken)
            .ConfigureAwait(false);
        return socket;
    }

    /// <summary>Starts vhost-device-vsock, which shows the guest's vsock at <see cref="VsockPath"/>.</summary>
    /// <inheritdoc cref="StartVirtiofsAsync"/>
    private protected async Task<string> StartVsockDaemonAsync(uint contextId, VmProgram vhostDeviceVsock, CancellationToken cancellationToken)
    {
        var socket = Environment.PathOf("vhost-vsock");
        await StartDaemonAsync(
            VsockRole, "vhost-device-vsock", vhostDeviceVsock, ["--vm", $"guest-cid={contextId},socket={socket},uds-path={VsockPath}"], socket, cancellationToken)
            .ConfigureAwait(false);
        return socket;
    }

    private async Task StartDaemonAsync(
        string role, string name, VmProgram program, IReadOnlyList<string> arguments, string socket, CancellationToken cancellationToken)
    {
        var log = Environment.PathOf($"{name}-{role}.log");
        try
        {
            var process = StartProcess(role, program.With(log, arguments));
            // It serves one connection: to try it would use that up.
            await WaitAsync(() => ValueTask.FromResult(Libc.SocketInode(socket) != 0), process, name, log, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await EndProcessAsync(role).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Waits until a process that has been started is ready.</summary>
    /// <exception cref="VmException">Ended, with the last of its log; TimedOut.</exception>
    private protected async Task WaitAsync(
        Func<ValueTask<bool>> isReady, VmProcess process, string what, string log, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(s_startLimit, Environment.TimeProvider);
        while (!await isReady().ConfigureAwait(false))
        {
            if (process.Exited.IsCompleted)
            {
                throw new VmException(VmError.Ended, $"{what} ended with status {await process.Exited.ConfigureAwait(false)}: {LastWords(log)}");
            }
            if (timer.IsCancellationRequested)
            {
                throw new VmException(VmError.TimedOut, $"{what} was not ready within {s_startLimit.TotalSeconds} s: {LastWords(log)}");
            }
            await Task.Delay(s_startPoll, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>What a hypervisor's status tells where it has said nothing itself.</summary>
    private protected static VmExitReason ReasonOf(int status) => status switch
    {
        128 + Libc.SIGKILL or 128 + Libc.SIGTERM => VmExitReason.Killed,
        ExitWatcher.UnknownStatus => VmExitReason.Unknown,
        _ => VmExitReason.HypervisorFailed,
    };

    /// <summary>The end of a log, for a message.</summary>
    private protected static string LastWords(string log)
    {
        const int Length = 500;
        try
        {
            using var file = File.OpenHandle(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var buffer = new byte[Length];
            var count = RandomAccess.Read(file, buffer, Math.Max(0, RandomAccess.GetLength(file) - Length));
            return Encoding.UTF8.GetString(buffer, 0, count).Trim() is { Length: > 0 } text ? text : "it said nothing";
        }
        catch (IOException e)
        {
            return e.Message;
        }
    }

    /// <summary>The console's log, made before the hypervisor would make it with another mode.</summary>
    private protected void MakeConsoleLog()
    {
        const uint OnlyOurs = 0x180; // 0600
        if (Record.ConsoleLog.Length > 0)
        {
            Libc.Open(Record.ConsoleLog, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_APPEND, OnlyOurs).Dispose();
        }
    }

    /// <summary>Takes over what the record tells of, and undoes what an earlier manager was in the middle of.</summary>
    /// <param name="settle">The driver's part, with a machine whose hypervisor's process was there.</param>
    /// <param name="cancellationToken">Ends it; the machine is let go of.</param>
    /// <exception cref="VmException">It could not be taken over, and is left as it is.</exception>
    private protected async Task TakeOverAsync(Func<CancellationToken, Task> settle, CancellationToken cancellationToken)
    {
        try
        {
            AdoptProcesses();
            if (State == VmState.Created || ProcessId == 0)
            {
                // That manager died before the guest ran.
                await KillAsync().ConfigureAwait(false);
                return;
            }
            try
            {
                await settle(cancellationToken).ConfigureAwait(false);
            }
            catch (VmException e) when (e.Error == VmError.Ended)
            {
                // Its process is seen to have ended in a moment, with the reason; or it runs and does not listen.
                await Task.WhenAny(Exited, Task.Delay(s_endLimit, Environment.TimeProvider, cancellationToken)).ConfigureAwait(false);
                if (!Exited.IsCompleted)
                {
                    throw;
                }
            }
        }
        catch
        {
            await DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}
