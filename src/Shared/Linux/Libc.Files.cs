using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    internal const int O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0x40, O_NOCTTY = 0x100, O_APPEND = 0x400,
        O_NONBLOCK = 0x800, O_DIRECTORY = 0x10000, O_NOFOLLOW = 0x20000, O_CLOEXEC = 0x80000, O_PATH = 0x200000;

    private const int F_DUPFD_CLOEXEC = 1030, F_GETFL = 3, F_SETFL = 4, LOCK_EX = 2, LOCK_NB = 4;

    /// <summary>open(2), always close-on-exec.</summary>
    internal static SafeFileHandle Open(string path, int flags, uint mode = 0)
    {
        int fd;
        while ((fd = open(path, flags | O_CLOEXEC, mode)) < 0 && LastError == EINTR)
        {
        }
        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw Error($"open {path}");
    }

    /// <summary>A copy of the fd at or above <paramref name="lowest"/>, close-on-exec.</summary>
    internal static SafeFileHandle Duplicate(SafeFileHandle handle, int lowest = 3) =>
        new(Check(fcntl((int)handle.DangerousGetHandle(), F_DUPFD_CLOEXEC, lowest), "fcntl(F_DUPFD)"), ownsHandle: true);

    internal static void SetNonBlocking(SafeFileHandle handle, bool value)
    {
        var fd = (int)handle.DangerousGetHandle();
        var flags = Check(fcntl(fd, F_GETFL, 0), "fcntl(F_GETFL)");
        Check(fcntl(fd, F_SETFL, value ? flags | O_NONBLOCK : flags & ~O_NONBLOCK), "fcntl(F_SETFL)");
    }

    /// <summary>pipe2(2), close-on-exec: the read end and the write end.</summary>
    internal static (SafeFileHandle Read, SafeFileHandle Write) Pipe()
    {
        var fds = stackalloc int[2];
        Check(pipe2(fds, O_CLOEXEC), "pipe2");
        return (new SafeFileHandle(fds[0], true), new SafeFileHandle(fds[1], true));
    }

    /// <summary>Takes the exclusive lock of a lock file if it is free; the lock ends with the handle.</summary>
    internal static bool TryLock(SafeFileHandle handle) => flock((int)handle.DangerousGetHandle(), LOCK_EX | LOCK_NB) == 0;

    internal static bool IsFifo(string path) => TryStatMode(path, out var mode) && (mode & 0xF000) == 0x1000;

    internal static bool IsBlockDevice(string path) => TryStatMode(path, out var mode) && (mode & 0xF000) == 0x6000;

    private static bool TryStatMode(string path, out uint mode)
    {
        // struct statx: stx_mode is the u16 at offset 28; 256 bytes in all.
        var buffer = stackalloc byte[256];
        const int AT_FDCWD = -100;
        const uint STATX_TYPE = 1;
        mode = 0;
        if (statx(AT_FDCWD, path, 0, STATX_TYPE, buffer) != 0)
        {
            return false;
        }
        mode = *(ushort*)(buffer + 28);
        return true;
    }

    /// <summary>read(2) once: the count, 0 at the end, or -errno.</summary>
    internal static int Read(SafeHandle handle, Span<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            var n = (int)read((int)handle.DangerousGetHandle(), p, (nuint)buffer.Length);
            return n >= 0 ? n : -LastError;
        }
    }

    /// <summary>write(2) once: the count or -errno.</summary>
    internal static int Write(SafeFileHandle handle, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            var n = (int)write((int)handle.DangerousGetHandle(), p, (nuint)buffer.Length);
            return n >= 0 ? n : -LastError;
        }
    }

    /// <summary>Takes what waits in a pipe, fifo or socket, for nobody.</summary>
    internal static void ReadAway(SafeHandle handle)
    {
        Span<byte> buffer = stackalloc byte[4096];
        while (BytesAvailable(handle) > 0 && Read(handle, buffer) > 0)
        {
        }
    }

    /// <summary>Bytes that wait in a pipe, fifo or socket.</summary>
    internal static int BytesAvailable(SafeHandle handle)
    {
        const uint FIONREAD = 0x541B;
        int value;
        return ioctl((int)handle.DangerousGetHandle(), FIONREAD, &value) == 0 ? value : 0;
    }

    /// <summary>Sets a terminal's window size, in character cells.</summary>
    internal static void SetWindowSize(SafeFileHandle terminal, ushort columns, ushort rows)
    {
        const uint TIOCSWINSZ = 0x5414;
        var size = stackalloc ushort[4] { rows, columns, 0, 0 };
        Check(ioctl((int)terminal.DangerousGetHandle(), TIOCSWINSZ, size), "ioctl(TIOCSWINSZ)");
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(int fd, int command, int argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int pipe2(int* fds, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int flock(int fd, int operation);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int directory, string path, int flags, uint mask, byte* buffer);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(int fd, nuint request, void* argument);
}
