using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <content>epoll, for pidfds.</content>
internal static unsafe partial class Libc
{
    private const int EPOLL_CTL_ADD = 1;
    private const uint EPOLLIN = 1, EPOLLONESHOT = 1u << 30;

    // struct epoll_event is packed on x86-64 alone.
    private static readonly int s_eventData = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 4 : 8;

    internal static SafeFileHandle Epoll() => new(Check(epoll_create1(O_CLOEXEC), "epoll_create1"), ownsHandle: true);

    /// <summary>Watches a handle for something to read, once; the key is given back by <see cref="WaitEpoll"/>.</summary>
    internal static void AddEpoll(SafeFileHandle epoll, SafeFileHandle handle, long key)
    {
        var entry = stackalloc byte[16];
        *(uint*)entry = EPOLLIN | EPOLLONESHOT;
        *(long*)(entry + s_eventData) = key;
        Check(epoll_ctl((int)epoll.DangerousGetHandle(), EPOLL_CTL_ADD, (int)handle.DangerousGetHandle(), entry), "epoll_ctl");
    }

    /// <summary>Waits, for ever, for the next handle that can be read: its key.</summary>
    internal static long WaitEpoll(SafeFileHandle epoll)
    {
        var entry = stackalloc byte[16];
        int count;
        while ((count = epoll_wait((int)epoll.DangerousGetHandle(), entry, 1, -1)) < 1)
        {
            if (count < 0 && LastError != EINTR)
            {
                throw Error("epoll_wait");
            }
        }
        return *(long*)(entry + s_eventData);
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(int epoll, int operation, int fd, byte* entry);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(int epoll, byte* entries, int count, int timeout);
}
