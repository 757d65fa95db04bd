using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    /// <summary>
    /// How a process ended that is no child of ours, as <see cref="TryReap(SafeFileHandle)"/> says it; null when nobody can tell any more.
    /// To root the kernel shows it in /proc as long as the parent has not reaped the process, and by the pidfd after that (Linux 6.15).
    /// </summary>
    /// <param name="pidfd">Of a process that has ended.</param>
    /// <param name="pid">Its pid.</param>
    internal static int? TryReadExit(SafeFileHandle pidfd, int pid)
    {
        var shown = ExitInProc(pid);
        // A signal of 0 reaches a zombie: the pid is still its own.
        var code = shown is not null && SendSignal(pidfd, 0) ? shown : ExitByPidfd(pidfd);
        return code is not { } status ? null : (status & 0x7F) is var signal && signal == 0 ? (status >> 8) & 0xFF : 128 + signal;
    }

    // Field 52 is the status as waitpid has it.
    private static int? ExitInProc(int pid) =>
        EffectiveUserId == 0 && ProcessStat.TryRead(pid) is { State: 'Z' } stat ? int.Parse(stat[52], CultureInfo.InvariantCulture) : null;

    private static int? ExitByPidfd(SafeFileHandle pidfd)
    {
        // struct pidfd_info of 64 bytes: what is asked for and was given, u64 at 0; exit_code, s32 at 60.
        const nuint PIDFD_GET_INFO = 0xC040FF0B;
        const ulong PIDFD_INFO_EXIT = 8;
        var info = stackalloc byte[64];
        new Span<byte>(info, 64).Clear();
        *(ulong*)info = PIDFD_INFO_EXIT;
        return ioctl((int)pidfd.DangerousGetHandle(), PIDFD_GET_INFO, info) == 0 && (*(ulong*)info & PIDFD_INFO_EXIT) != 0 ? *(int*)(info + 60) : null;
    }
}
