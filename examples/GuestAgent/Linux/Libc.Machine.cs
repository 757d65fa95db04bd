using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <summary>What pid 1 alone does.</summary>
internal static unsafe partial class Libc
{
    internal const nuint MS_BIND = 4096, MS_MOVE = 8192;

    internal static void ChangeRoot(string path) => Check(chroot(path), $"chroot {path}");

    internal static void ChangeFolder(string path) => Check(chdir(path), $"chdir {path}");

    /// <summary>Loads a kernel module; false when it is loaded already.</summary>
    internal static bool LoadModule(string path)
    {
        // The same number on x86-64; arm64 has another.
        var number = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 313 : 273;
        using var file = Open(path, O_RDONLY);
        fixed (byte* none = "\0"u8)
        {
            if (syscall(number, (nint)file.DangerousGetHandle(), (nint)none, 0, 0) >= 0)
            {
                return true;
            }
        }
        return LastError == EEXIST ? false : throw Error($"load {path}");
    }

    /// <summary>
    /// As pid 1, .NET itself reaps whatever child ends (wait4(-1) at each SIGCHLD), and who asks for that child's code finds nothing. Without its
    /// handler it does not. To be called when it has installed that: after the first <see cref="PosixSignalRegistration"/>; it does so once.
    /// </summary>
    internal static void KeepRuntimeFromReaping()
    {
        const int SIGCHLD = 17, SIG_DFL = 0, SIG_ERR = -1;
        if (signal(SIGCHLD, SIG_DFL) == SIG_ERR)
        {
            throw Error("signal(SIGCHLD)");
        }
    }

    /// <summary>How many files this process and its children may have open.</summary>
    internal static void SetOpenFilesLimit(ulong limit)
    {
        const int RLIMIT_NOFILE = 7;
        var values = stackalloc ulong[2] { limit, limit };
        Check(setrlimit(RLIMIT_NOFILE, values), "setrlimit(RLIMIT_NOFILE)");
    }

    /// <summary>Writes what is cached to disks and switches the machine off. Does not return.</summary>
    internal static void PowerOff()
    {
        const int LINUX_REBOOT_CMD_POWER_OFF = 0x4321FEDC;
        sync();
        Check(reboot(LINUX_REBOOT_CMD_POWER_OFF), "reboot");
    }

    /// <summary>Adds to the wall clock.</summary>
    internal static void AdjustClock(TimeSpan delta)
    {
        const int CLOCK_REALTIME = 0;
        var now = DateTimeOffset.UtcNow + delta;
        var time = stackalloc long[2];
        time[0] = Math.DivRem((now - DateTimeOffset.UnixEpoch).Ticks, TimeSpan.TicksPerSecond, out var ticks);
        time[1] = ticks * 100;
        Check(clock_settime(CLOCK_REALTIME, time), "clock_settime");
    }

    /// <summary>A socket of the kernel's, for one of its protocols, that hears what is told to these groups (bits).</summary>
    internal static SafeFileHandle OpenNetlink(int protocol, uint groups = 0)
    {
        const int AF_NETLINK = 16, SOCK_RAW = 3, AddressSize = 12;
        var handle = new SafeFileHandle(Check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), "socket(AF_NETLINK)"), ownsHandle: true);
        // struct sockaddr_nl: u16 family, u16, u32 port (0: the kernel chooses), u32 groups.
        var address = stackalloc uint[3] { AF_NETLINK, 0, groups };
        Check(bind((int)handle.DangerousGetHandle(), (byte*)address, AddressSize), "bind(AF_NETLINK)");
        return handle;
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int chroot(string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int chdir(string path);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setrlimit(int resource, ulong* limit);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int reboot(int command);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint signal(int number, nint handler);

    [LibraryImport("libc")]
    private static partial void sync();

    [LibraryImport("libc", SetLastError = true)]
    private static partial int clock_settime(int clock, long* time);
}
