using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.EndToEnd.Tests.Linux;

/// <summary>The few calls that .NET lacks.</summary>
internal static partial class Libc
{
    internal const int O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NONBLOCK = 0x800, O_CLOEXEC = 0x80000;
    internal const int SIGTERM = 15, SIGKILL = 9;
    internal const short POLLIN = 1, POLLHUP = 16;
    private const int EINTR = 4, EAGAIN = 11;

    internal static void MakeFifo(string path)
    {
        if (mkfifo(path, 0x1C0 /* 0700 */) != 0)
        {
            throw Failure($"mkfifo {path}");
        }
    }

    internal static SafeFileHandle Open(string path, int flags)
    {
        int fd;
        do
        {
            fd = open(path, flags | O_CLOEXEC, 0);
        }
        while (fd < 0 && Marshal.GetLastPInvokeError() == EINTR);
        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw Failure($"open {path}");
    }

    /// <summary>Null when there is nothing to read yet.</summary>
    internal static int? Read(SafeFileHandle file, byte[] buffer)
    {
        var count = read(file, buffer, buffer.Length);
        return count >= 0 ? (int)count
            : Marshal.GetLastPInvokeError() is EAGAIN or EINTR ? null
            : throw Failure("read");
    }

    /// <summary>What happened within the time; 0 for nothing.</summary>
    internal static unsafe short Poll(SafeFileHandle file, short events, int milliseconds)
    {
        var request = new PollRequest { Fd = (int)file.DangerousGetHandle(), Events = events };
        return poll(&request, 1, milliseconds) > 0 ? request.Returned : (short)0;
    }

    /// <summary>False when there is no such process.</summary>
    internal static bool Signal(int pid, int signal) => kill(pid, signal) == 0;

    internal static bool IsRoot => geteuid() == 0;

    private static Win32Exception Failure(string what)
    {
        var error = Marshal.GetLastPInvokeError();
        return new Win32Exception(error, $"{what}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollRequest
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mkfifo(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(SafeFileHandle file, byte[] buffer, nint count);

    [LibraryImport("libc", SetLastError = true)]
    private static unsafe partial int poll(PollRequest* requests, ulong count, int milliseconds);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int pid, int signal);

    [LibraryImport("libc")]
    private static partial uint geteuid();
}
