using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static partial class Libc
{
    /// <summary>A file in memory alone, close-on-exec.</summary>
    internal static SafeFileHandle MemoryFile(string name)
    {
        const uint MFD_CLOEXEC = 1;
        return new SafeFileHandle(Check(memfd_create(name, MFD_CLOEXEC), "memfd_create"), ownsHandle: true);
    }

    /// <summary>Where the next read or write of the open file begins, which all copies of the handle share.</summary>
    internal static long Offset(SafeFileHandle file)
    {
        const int SEEK_CUR = 1;
        return lseek((int)file.DangerousGetHandle(), 0, SEEK_CUR) is >= 0 and var offset ? offset : throw Error("lseek");
    }

    internal static void SetOffset(SafeFileHandle file, long offset)
    {
        const int SEEK_SET = 0;
        if (lseek((int)file.DangerousGetHandle(), offset, SEEK_SET) < 0)
        {
            throw Error("lseek");
        }
    }

    /// <summary>Gives back what the file's first bytes take, by whole pages; they read as zeros from then on.</summary>
    internal static void Forget(SafeFileHandle file, long count)
    {
        const int FALLOC_FL_KEEP_SIZE = 1, FALLOC_FL_PUNCH_HOLE = 2;
        Check(fallocate((int)file.DangerousGetHandle(), FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, count), "fallocate");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial long lseek(int file, long offset, int from);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fallocate(int file, int mode, long offset, long count);
}
