using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <summary>Small files and folders with an errno of their own: File and Directory say little under NativeAOT's resource keys.</summary>
internal static unsafe partial class Libc
{
    internal const int O_TRUNC = 0x200, ENOTDIR = 20;

    /// <summary>The whole of a file; null when there is none.</summary>
    internal static byte[]? ReadFile(string path, int limit)
    {
        int fd;
        while ((fd = open(path, O_RDONLY | O_CLOEXEC, 0)) < 0 && LastError == EINTR)
        {
        }
        if (fd < 0)
        {
            return LastError is ENOENT or ENOTDIR ? null : throw Error($"open {path}");
        }
        using var handle = new SafeFileHandle(fd, ownsHandle: true);
        return ReadToEnd(handle, limit, path);
    }

    /// <summary>Reads to the end of a file, a pipe or a socket.</summary>
    internal static byte[] ReadToEnd(SafeFileHandle handle, int limit, string name)
    {
        var buffer = new byte[2048];
        var length = 0;
        while (true)
        {
            var n = Read(handle, buffer.AsSpan(length));
            if (n == -EINTR)
            {
                continue;
            }
            if (n == -EAGAIN)
            {
                WaitReadable(handle, TimeSpan.FromSeconds(1));
                continue;
            }
            if (n < 0)
            {
                throw new LinuxException($"read {name}", -n);
            }
            if (n == 0)
            {
                return buffer.AsSpan(0, length).ToArray();
            }
            length += n;
            if (length > limit)
            {
                throw new InvalidDataException($"{name} is longer than {limit} bytes");
            }
            if (length == buffer.Length)
            {
                Array.Resize(ref buffer, length * 2);
            }
        }
    }

    /// <summary>Writes all of it.</summary>
    internal static void WriteAll(SafeFileHandle handle, ReadOnlySpan<byte> buffer, string name)
    {
        while (!buffer.IsEmpty)
        {
            var n = Write(handle, buffer);
            if (n == -EAGAIN)
            {
                Thread.Sleep(1);
            }
            else if (n < 0 && n != -EINTR)
            {
                throw new LinuxException($"write {name}", -n);
            }
            buffer = buffer[Math.Max(0, n)..];
        }
    }

    /// <summary>The folder with what is missing above it. What exists keeps its mode.</summary>
    internal static void CreateFolders(string path, uint mode)
    {
        if (mkdir(path, mode) == 0 || LastError == EEXIST)
        {
            return;
        }
        if (LastError != ENOENT || Path.GetDirectoryName(path) is not { Length: > 0 } parent)
        {
            throw Error($"mkdir {path}");
        }
        CreateFolders(parent, mode);
        if (mkdir(path, mode) != 0 && LastError != EEXIST)
        {
            throw Error($"mkdir {path}");
        }
    }

    /// <summary>rmdir(2); false leaves the reason in <see cref="LastError"/>. None there is none to remove.</summary>
    internal static bool TryRemoveFolder(string path) => rmdir(path) == 0 || LastError == ENOENT;

    /// <summary>unlink(2); false leaves the reason in <see cref="LastError"/>. None there is none to remove.</summary>
    internal static bool TryRemoveFile(string path) => unlink(path) == 0 || LastError == ENOENT;

    internal static void Rename(string from, string to) => Check(rename(from, to), $"rename {from} to {to}");

    internal static void Sync(SafeFileHandle handle, string name) => Check(fsync((int)handle.DangerousGetHandle()), $"fsync {name}");

    /// <summary>The current folder; null when it has been removed.</summary>
    internal static string? CurrentFolder()
    {
        const int PATH_MAX = 4096;
        var buffer = stackalloc byte[PATH_MAX];
        // Linux marks a folder that cannot be reached from the root so.
        return getcwd(buffer, PATH_MAX) != null && buffer[0] == '/'
            ? Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(buffer))
            : null;
    }

    internal static bool IsTerminal(SafeFileHandle handle) => isatty((int)handle.DangerousGetHandle()) == 1;

    /// <summary>From here on no child inherits any fd but those it is given.</summary>
    internal static void CloseAllOnExec()
    {
        const nint SYS_close_range = 436, CLOSE_RANGE_CLOEXEC = 4;
        if (syscall(SYS_close_range, 3, int.MaxValue, CLOSE_RANGE_CLOEXEC, 0) == 0)
        {
            return;
        }
        // Before Linux 5.11.
        const int F_SETFD = 2, FD_CLOEXEC = 1;
        for (var fd = 3; fd < 1024; fd++)
        {
            _ = fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mkdir(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int rmdir(string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int unlink(string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int rename(string from, string to);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fsync(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial byte* getcwd(byte* buffer, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int isatty(int fd);
}
