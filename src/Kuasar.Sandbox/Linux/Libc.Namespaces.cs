using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    /// <summary>Gives the calling thread namespaces of its own. The thread must not go back to a pool.</summary>
    internal static void Unshare(int namespaces) => Check(unshare(namespaces), "unshare");

    /// <summary>Of the calling thread's UTS namespace.</summary>
    internal static void SetHostName(string name)
    {
        var bytes = Encoding.UTF8.GetBytes(name);
        fixed (byte* p = bytes)
        {
            Check(sethostname(p, (nuint)bytes.Length), $"sethostname {name}");
        }
    }

    internal static int ThreadId => gettid();

    /// <summary>A program in memory alone, to be run by its path below /proc/self/fd: a file system may be mounted noexec.</summary>
    internal static SafeFileHandle Executable(string name, ReadOnlySpan<byte> content)
    {
        const uint MFD_CLOEXEC = 1, MFD_EXEC = 0x10;
        var fd = memfd_create(name, MFD_CLOEXEC | MFD_EXEC);
        if (fd < 0 && LastError == EINVAL)
        {
            // Before Linux 6.3.
            fd = memfd_create(name, MFD_CLOEXEC);
        }
        var handle = new SafeFileHandle(Check(fd, "memfd_create"), ownsHandle: true);
        try
        {
            WriteAll(handle, content, name);
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int unshare(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int sethostname(byte* name, nuint length);

    [LibraryImport("libc")]
    private static partial int gettid();

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int memfd_create(string name, uint flags);
}
