using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    internal const int SIGKILL = 9, SIGTERM = 15, SIGCONT = 18, SIGSTOP = 19;

    private const int P_PID = 1, P_PIDFD = 3, P_ALL = 0, WNOHANG = 1, WEXITED = 4, WNOWAIT = 0x1000000;
    private const nint SYS_pidfd_send_signal = 424, SYS_pidfd_open = 434;

    /// <summary>A pidfd: it names this process and never its successor in the pid. Null when there is no such process.</summary>
    internal static SafeFileHandle? OpenProcess(int pid)
    {
        var fd = (int)syscall(SYS_pidfd_open, pid, 0, 0, 0);
        return fd >= 0 ? new SafeFileHandle(fd, true) : LastError == ESRCH ? null : throw Error($"pidfd_open {pid}");
    }

    /// <summary>Sends a signal; false when the process is gone.</summary>
    /// <exception cref="ObjectDisposedException">The handle is closed; its number may be another process's pidfd by now.</exception>
    internal static bool SendSignal(SafeFileHandle pidfd, int signal)
    {
        var held = false;
        try
        {
            pidfd.DangerousAddRef(ref held);
            if (syscall(SYS_pidfd_send_signal, (int)pidfd.DangerousGetHandle(), signal, 0, 0) == 0)
            {
                return true;
            }
            return LastError == ESRCH ? false : throw Error($"pidfd_send_signal {signal}");
        }
        finally
        {
            if (held)
            {
                pidfd.DangerousRelease();
            }
        }
    }

    /// <summary>Sends a signal by pid: only for pids read from a cgroup a moment ago. False when the process is gone.</summary>
    internal static bool Kill(int pid, int signal) => kill(pid, signal) == 0;

    /// <summary>
    /// Reaps one dead child. Null: it lives. Status: as a shell has it, code or 128 + signal. <see cref="NotOurs"/>: not a child of ours.
    /// </summary>
    internal static int? TryReap(SafeFileHandle pidfd) => Wait(P_PIDFD, (int)pidfd.DangerousGetHandle(), WEXITED | WNOHANG, out _);

    /// <inheritdoc cref="TryReap(SafeFileHandle)"/>
    internal static int? TryReap(int pid) => Wait(P_PID, pid, WEXITED | WNOHANG, out _);

    /// <summary>The pid of some dead child, left as it is; 0 when there is none.</summary>
    internal static int PeekDeadChild()
    {
        Wait(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT, out var pid);
        return pid;
    }

    internal const int NotOurs = -1;

    private static int? Wait(int idType, int id, int options, out int pid)
    {
        // siginfo_t for SIGCHLD on 64 bit: si_code at 8, si_pid at 16, si_status at 24; 128 bytes in all.
        var info = stackalloc byte[128];
        new Span<byte>(info, 128).Clear();
        pid = 0;
        int result;
        while ((result = waitid(idType, id, info, options)) < 0 && LastError == EINTR)
        {
        }
        if (result < 0)
        {
            return LastError == ECHILD ? NotOurs : throw Error("waitid");
        }
        pid = *(int*)(info + 16);
        const int CLD_EXITED = 1;
        var status = *(int*)(info + 24);
        return pid == 0 ? null : *(int*)(info + 8) == CLD_EXITED ? status : 128 + status;
    }

    /// <summary>Makes this process the one that orphaned descendants fall to.</summary>
    internal static void BecomeSubreaper()
    {
        const int PR_SET_CHILD_SUBREAPER = 36;
        Check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)");
    }

    internal static uint EffectiveUserId => geteuid();

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint a, nint b, nint c, nint d);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int pid, int signal);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int waitid(int idType, int id, byte* info, int options);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int prctl(int option, nint a, nint b, nint c, nint d);

    [LibraryImport("libc")]
    private static partial uint geteuid();
}
