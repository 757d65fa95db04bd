using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    internal const uint IN_MODIFY = 2;

    /// <summary>open(2) for reading that answers null where there is nothing to read: an absent cgroup file is no error.</summary>
    internal static SafeFileHandle? TryOpenRead(string path)
    {
        int fd;
        while ((fd = open(path, O_RDONLY | O_CLOEXEC, 0)) < 0 && LastError == EINTR)
        {
        }
        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : null;
    }

    /// <summary>A counter to wait on, at zero; close-on-exec and non-blocking.</summary>
    internal static SafeFileHandle EventFd() => new(Check(eventfd(0, O_CLOEXEC | O_NONBLOCK), "eventfd"), ownsHandle: true);

    /// <summary>An inotify instance with one watch; close-on-exec and non-blocking. Null when the path is not there.</summary>
    internal static SafeFileHandle? Watch(string path, uint mask)
    {
        var handle = new SafeFileHandle(Check(inotify_init1(O_CLOEXEC | O_NONBLOCK), "inotify_init1"), ownsHandle: true);
        if (inotify_add_watch((int)handle.DangerousGetHandle(), path, mask) >= 0)
        {
            return handle;
        }
        var error = Error($"inotify_add_watch {path}");
        handle.Dispose();
        return error.Errno == ENOENT ? null : throw error;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint value, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int inotify_init1(int flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int inotify_add_watch(int fd, string path, uint mask);
}
