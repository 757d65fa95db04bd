using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Kuasar.Linux;

/// <content>Sockets that do not wait, and an epoll for when they must.</content>
internal static unsafe partial class Libc
{
    internal const uint POLLIN = 1, POLLOUT = 4;
    internal const int MSG_PEEK = 2;

    private const int EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2;
    private const uint EPOLLONESHOT = 1u << 30;

    // struct epoll_event { u32 events; u64 data; } is packed on x86-64, and only there.
    private static readonly int s_eventSize = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;

    /// <summary>recv(2) without waiting: the count, 0 at the end, or -errno, EAGAIN as a rule.</summary>
    internal static int TryReceive(SafeSocketHandle handle, Span<byte> buffer, int flags = 0)
    {
        fixed (byte* start = buffer)
        {
            int count;
            while ((count = (int)recv(handle, start, (nuint)buffer.Length, flags | MSG_DONTWAIT)) < 0 && LastError == EINTR)
            {
            }
            return count >= 0 ? count : -LastError;
        }
    }

    /// <summary>send(2) without waiting and without SIGPIPE: the count, or -errno, EAGAIN as a rule.</summary>
    internal static int TrySend(SafeSocketHandle handle, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            int count;
            while ((count = (int)send(handle, start, (nuint)buffer.Length, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0 && LastError == EINTR)
            {
            }
            return count >= 0 ? count : -LastError;
        }
    }

    /// <summary>Waits until the socket is ready or has failed, in the kernel; false when the time is over, or a signal came, first.</summary>
    internal static bool WaitReady(SafeSocketHandle handle, uint events, TimeSpan timeout)
    {
        var held = false;
        try
        {
            handle.DangerousAddRef(ref held);
            var entry = new PollEntry { Fd = (int)handle.DangerousGetHandle(), Events = (short)events };
            // struct timespec.
            var time = stackalloc long[2] { timeout.Ticks / TimeSpan.TicksPerSecond, timeout.Ticks % TimeSpan.TicksPerSecond * TimeSpan.NanosecondsPerTick };
            return ppoll(&entry, 1, timeout == Timeout.InfiniteTimeSpan ? null : time, null) > 0;
        }
        finally
        {
            if (held)
            {
                handle.DangerousRelease();
            }
        }
    }

    internal static int CreateEpoll() => Check(epoll_create1(O_CLOEXEC), "epoll_create1");

    /// <summary>For one event, which carries the number.</summary>
    internal static void AddToEpoll(int epoll, SafeSocketHandle handle, uint events, ulong number)
    {
        var entry = stackalloc byte[16];
        *(uint*)entry = events | EPOLLONESHOT;
        *(ulong*)(entry + s_eventSize - sizeof(ulong)) = number;
        Check(epoll_ctl(epoll, EPOLL_CTL_ADD, (int)handle.DangerousGetHandle(), entry), "epoll_ctl");
    }

    internal static void RemoveFromEpoll(int epoll, SafeSocketHandle handle) =>
        Check(epoll_ctl(epoll, EPOLL_CTL_DEL, (int)handle.DangerousGetHandle(), null), "epoll_ctl");

    /// <summary>Waits without end for events, and gives their numbers.</summary>
    internal static int WaitEpoll(int epoll, Span<ulong> numbers)
    {
        var events = stackalloc byte[numbers.Length * 16];
        int count;
        while ((count = epoll_wait(epoll, events, numbers.Length, -1)) < 0 && LastError == EINTR)
        {
        }
        for (var i = 0; i < Check(count, "epoll_wait"); i++)
        {
            numbers[i] = *(ulong*)(events + ((i + 1) * s_eventSize) - sizeof(ulong));
        }
        return count;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(SafeSocketHandle fd, byte* buffer, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(SafeSocketHandle fd, byte* buffer, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ppoll(PollEntry* entries, nuint count, long* timeout, void* signals);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(int epoll, int operation, int fd, byte* entry);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(int epoll, byte* events, int count, int timeout);
}
