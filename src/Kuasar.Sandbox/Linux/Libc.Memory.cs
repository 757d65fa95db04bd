using System.Runtime.InteropServices;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    /// <summary>
    /// Takes the pages out of this process's memory; the next use finds them in the file again. What a private mapping has changed is lost.
    /// </summary>
    internal static void ForgetPages(nuint start, nuint length)
    {
        const int MADV_DONTNEED = 4;
        Check(madvise((void*)start, length, MADV_DONTNEED), "madvise");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int madvise(void* start, nuint length, int advice);
}
