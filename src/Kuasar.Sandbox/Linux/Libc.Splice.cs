using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    /// <summary>splice(2) once, never waiting: the count, 0 at the end, or -errno. EINVAL: neither of the two is a pipe, or one cannot do it. A file's offset goes with it.</summary>
    internal static int Splice(SafeFileHandle source, SafeFileHandle target, int count)
    {
        const uint SPLICE_F_NONBLOCK = 2;
        var n = (int)splice((int)source.DangerousGetHandle(), null, (int)target.DangerousGetHandle(), null, (nuint)count, SPLICE_F_NONBLOCK);
        return n >= 0 ? n : -LastError;
    }

    /// <summary>Sets the capacity of a pipe, if it is one and may have so much.</summary>
    internal static void TryEnlargePipe(SafeFileHandle pipe, int size)
    {
        const int F_SETPIPE_SZ = 1031;
        _ = fcntl((int)pipe.DangerousGetHandle(), F_SETPIPE_SZ, size);
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint splice(int source, long* sourceOffset, int target, long* targetOffset, nuint count, uint flags);
}
