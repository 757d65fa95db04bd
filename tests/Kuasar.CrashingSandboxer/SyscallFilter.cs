using System.Runtime.InteropServices;

namespace CrashingSandboxer;

/// <summary>
/// Has whoever holds the fd asked before each system call that changes something outside of the process: of this process, all of its threads,
/// and of all that it starts (seccomp_unotify(2)). x86-64 alone.
/// </summary>
public static unsafe partial class SyscallFilter
{
    /// <summary>Their numbers: rename, mkdir, rmdir, unlink and their variants, mount, umount2, kill, pidfd_send_signal, execve.</summary>
    private static readonly uint[] s_gated = [82, 264, 316, 83, 258, 84, 87, 263, 165, 166, 62, 424, 59];

    /// <summary>The fd, which stays this process's.</summary>
    public static int Install()
    {
        const nint SYS_seccomp = 317, SECCOMP_SET_MODE_FILTER = 1, TSYNC = 1, NEW_LISTENER = 8, TSYNC_ESRCH = 16;
        const ushort Load = 0x20, JumpIfEqual = 0x15, Return = 0x06;
        const uint Allow = 0x7fff0000, Notify = 0x7fc00000;
        // struct sock_filter { u16 code; u8 jt, jf; u32 k; }; struct sock_fprog { u16 len; sock_filter *filter; }
        var program = new List<ulong> { Instruction(Load, 0, 0, 0) };
        for (var i = 0; i < s_gated.Length; i++)
        {
            program.Add(Instruction(JumpIfEqual, (byte)(s_gated.Length - i), 0, s_gated[i]));
        }
        program.Add(Instruction(Return, 0, 0, Allow));
        program.Add(Instruction(Return, 0, 0, Notify));
        fixed (ulong* filter = program.ToArray())
        {
            var prog = stackalloc nint[2] { program.Count, (nint)filter };
            var fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, TSYNC | NEW_LISTENER | TSYNC_ESRCH, (nint)prog);
            return fd >= 0 ? (int)fd : throw new InvalidOperationException($"seccomp: errno {Marshal.GetLastPInvokeError()}");
        }
    }

    private static ulong Instruction(ushort code, byte ifTrue, byte ifFalse, uint value) =>
        code | ((ulong)ifTrue << 16) | ((ulong)ifFalse << 24) | ((ulong)value << 32);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint a, nint b, nint c);
}
