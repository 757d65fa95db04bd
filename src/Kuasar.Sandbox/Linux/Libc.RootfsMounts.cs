using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    internal const int ENOTTY = 25, EXDEV = 18, ENODEV = 19, ELOOP = 40;

    internal const nuint MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_SYNCHRONOUS = 16, MS_REMOUNT = 32, MS_MANDLOCK = 64,
        MS_DIRSYNC = 128, MS_NOSYMFOLLOW = 256, MS_NOATIME = 1024, MS_NODIRATIME = 2048, MS_BIND = 4096, MS_REC = 16384,
        MS_UNBINDABLE = 1 << 17, MS_PRIVATE = 1 << 18, MS_SLAVE = 1 << 19, MS_SHARED = 1 << 20, MS_RELATIME = 1 << 21, MS_STRICTATIME = 1 << 24;

    /// <summary>Opens a path inside a folder as if the folder were the root (O_PATH): no <c>..</c> and no symbolic link leads out of it. Linux 5.6.</summary>
    internal static SafeFileHandle OpenInRoot(SafeFileHandle root, string path)
    {
        // struct open_how { u64 flags; u64 mode; u64 resolve; }
        const nint SYS_openat2 = 437;
        const ulong RESOLVE_NO_MAGICLINKS = 2, RESOLVE_IN_ROOT = 16;
        var how = stackalloc ulong[3] { O_PATH | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT };
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            nint fd;
            // EAGAIN: something was renamed or mounted while the kernel walked the path.
            while ((fd = syscall(SYS_openat2, (nint)root.DangerousGetHandle(), (nint)name, (nint)how, 3 * sizeof(ulong))) < 0 && LastError is EINTR or EAGAIN)
            {
            }
            return new SafeFileHandle((nint)Check(fd, $"open {path}"), ownsHandle: true);
        }
    }

    /// <summary>What the mount that a path is on has of MS_RDONLY, MS_NOSUID, MS_NODEV and MS_NOEXEC.</summary>
    internal static nuint RestrictionsOf(string path)
    {
        // struct statfs on 64 bit: f_flags at offset 80 of 120 bytes; ST_ and MS_ have the same values here.
        var buffer = stackalloc byte[256];
        Check(statfs(path, buffer), $"statfs {path}");
        return *(nuint*)(buffer + 80) & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    }

    /// <summary>Takes off the topmost mount alone, lazily where it is busy; false when there is none.</summary>
    internal static bool UnmountTop(string target) =>
        umount2(target, UMOUNT_NOFOLLOW) == 0 || (LastError == EBUSY && umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0);

    /// <summary>The number of a loop device that is free at the moment.</summary>
    internal static int FreeLoopDevice(SafeFileHandle control)
    {
        const uint LOOP_CTL_GET_FREE = 0x4C82;
        return Check(ioctl((int)control.DangerousGetHandle(), LOOP_CTL_GET_FREE, null), "ioctl(LOOP_CTL_GET_FREE)");
    }

    /// <summary>Gives a loop device its file; it lets go of it by itself when the last one closes or unmounts it. False: someone else was faster.</summary>
    internal static bool TryAttachLoop(SafeFileHandle device, SafeFileHandle file, string name, bool readOnly, bool direct)
    {
        const uint LOOP_SET_FD = 0x4C00, LOOP_CLR_FD = 0x4C01, LOOP_SET_STATUS64 = 0x4C04, LOOP_CONFIGURE = 0x4C0A;
        const uint LO_FLAGS_READ_ONLY = 1, LO_FLAGS_AUTOCLEAR = 4, LO_FLAGS_DIRECT_IO = 16;
        // struct loop_config { u32 fd; u32 block_size; struct loop_info64 info; u64 reserved[8]; }
        // struct loop_info64: lo_flags at 52, lo_file_name[64] at 56; 232 bytes in all.
        const int ConfigSize = 304, InfoOffset = 8, FlagsOffset = 52, NameOffset = 56, NameSize = 64;
        var config = stackalloc byte[ConfigSize];
        new Span<byte>(config, ConfigSize).Clear();
        var fd = (int)device.DangerousGetHandle();
        var backing = (int)file.DangerousGetHandle();
        *(int*)config = backing;
        var info = config + InfoOffset;
        *(uint*)(info + FlagsOffset) = LO_FLAGS_AUTOCLEAR | (readOnly ? LO_FLAGS_READ_ONLY : 0) | (direct ? LO_FLAGS_DIRECT_IO : 0);
        Encoding.UTF8.TryGetBytes(name, new Span<byte>(info + NameOffset, NameSize - 1), out _);
        if (ioctl(fd, LOOP_CONFIGURE, config) == 0)
        {
            return true;
        }
        // Before Linux 5.8 in two steps, and without direct I/O.
        if (LastError is EINVAL or ENOTTY && ioctl(fd, LOOP_SET_FD, (void*)backing) == 0)
        {
            if (ioctl(fd, LOOP_SET_STATUS64, info) == 0)
            {
                return true;
            }
            var error = Error("ioctl(LOOP_SET_STATUS64)");
            _ = ioctl(fd, LOOP_CLR_FD, null);
            throw error;
        }
        return LastError == EBUSY ? false : throw Error("ioctl(LOOP_CONFIGURE)");
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statfs(string path, byte* buffer);
}
