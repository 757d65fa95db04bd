using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <content>Sockets that do not wait, and an epoll for when they must.</content>
internal static unsafe partial class Libc
{
    internal const uint POLLIN = 1, POLLOUT = 4;
    internal const int MSG_PEEK = 2;

    private const int EPOLL_CTL_DEL = 2;

    /// <summary>Has receives that wait return with EAGAIN when the time is over, as the kernel's ticks tell it: a few milliseconds later, as a rule.</summary>
    internal static void LimitReceiveWait(SafeSocketHandle handle, TimeSpan time)
    {
        SetBlocking(handle);
        SetTimeout(handle, SO_RCVTIMEO, time);
    }

    /// <summary>recv(2), which waits in the kernel no longer than <see cref="LimitReceiveWait"/> lets it: the count, 0 at the end, or -errno, EAGAIN as a rule.</summary>
    internal static int TryReceive(SafeSocketHandle handle, Span<byte> buffer, bool wait, int flags = 0)
    {
        fixed (byte* start = buffer)
        {
            int count;
            while ((count = (int)recv(handle, start, (nuint)buffer.Length, flags | (wait ? 0 : MSG_DONTWAIT))) < 0 && LastError == EINTR)
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

    /// <summary>For one event, which carries the key.</summary>
    internal static void AddEpoll(SafeFileHandle epoll, SafeSocketHandle handle, uint events, long key)
    {
        var entry = stackalloc byte[16];
        *(uint*)entry = events | EPOLLONESHOT;
        *(long*)(entry + s_eventData) = key;
        Check(epoll_ctl((int)epoll.DangerousGetHandle(), EPOLL_CTL_ADD, (int)handle.DangerousGetHandle(), entry), "epoll_ctl");
    }

    internal static void RemoveEpoll(SafeFileHandle epoll, SafeSocketHandle handle) =>
        Check(epoll_ctl((int)epoll.DangerousGetHandle(), EPOLL_CTL_DEL, (int)handle.DangerousGetHandle(), null), "epoll_ctl");

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(SafeSocketHandle fd, byte* buffer, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(SafeSocketHandle fd, byte* buffer, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ppoll(PollEntry* entries, nuint count, long* timeout, void* signals);
}
