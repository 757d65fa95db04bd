using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <summary>
/// The libc calls that .NET lacks, by subject in partial files. Linked as source where needed, so it is internal everywhere.
/// Handles go out as <see cref="SafeFileHandle"/>; errno becomes a <see cref="LinuxException"/> here and nowhere else.
/// </summary>
internal static unsafe partial class Libc
{
    internal const int ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ECHILD = 10, EAGAIN = 11, EBUSY = 16,
        EEXIST = 17, EINVAL = 22, EPIPE = 32;

    /// <summary>Throws what errno says of the call that has just failed.</summary>
    internal static LinuxException Error(string call) => new(call, Marshal.GetLastPInvokeError());

    internal static int LastError => Marshal.GetLastPInvokeError();

    internal static int Check(int result, string call) => result >= 0 ? result : throw Error(call);

    internal static long Check(nint result, string call) => result >= 0 ? result : throw Error(call);
}

/// <summary>A failed system call: its name with what it was about, and errno.</summary>
internal sealed class LinuxException(string call, int errno) : IOException($"{call}: {new Win32Exception(errno).Message}")
{
    internal int Errno { get; } = errno;
}
