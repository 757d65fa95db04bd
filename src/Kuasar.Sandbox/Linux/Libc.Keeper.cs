using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <summary>What one keeper needs beside what everybody needs: sockets without .NET's event loop, fds in messages, exec in place.</summary>
internal static unsafe partial class Libc
{
    internal const int ECONNREFUSED = 111, ENAMETOOLONG = 36, EMSGSIZE = 90;

    private const int SOCK_SEQPACKET = 5, SOCK_NONBLOCK = 0x800, SO_PEERCRED = 17, MSG_CMSG_CLOEXEC = 0x40000000,
        SO_SNDBUF = 7, F_SETFD = 2;

    /// <summary>Both ends of a stream (or, with <paramref name="packets"/>, of a socket that keeps messages apart), close-on-exec.</summary>
    internal static (SafeFileHandle Mine, SafeFileHandle Theirs) SocketPair(bool packets)
    {
        var fds = stackalloc int[2];
        Check(socketpair(AF_UNIX, (packets ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, fds), "socketpair");
        return (new SafeFileHandle(fds[0], true), new SafeFileHandle(fds[1], true));
    }

    /// <summary>A datagram socket to a path, or to an abstract name that begins with '@'; null when nobody is there.</summary>
    internal static SafeFileHandle? TryConnectDatagram(string name)
    {
        const int SOCK_DGRAM = 2;
        var address = stackalloc byte[110];
        new Span<byte>(address, 110).Clear();
        *(ushort*)address = AF_UNIX;
        if (Encoding.UTF8.GetByteCount(name) > 107)
        {
            return null;
        }
        var length = Encoding.UTF8.GetBytes(name, new Span<byte>(address + 2, 107));
        if (name[0] == '@')
        {
            address[2] = 0;
        }
        var handle = new SafeFileHandle(Check(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"), ownsHandle: true);
        if (connect((int)handle.DangerousGetHandle(), address, (uint)(2 + length + (name[0] == '@' ? 0 : 1))) == 0)
        {
            return handle;
        }
        handle.Dispose();
        return null;
    }

    /// <summary>A listening stream socket of mode 0600, non-blocking. A socket file that nobody answers on is replaced.</summary>
    internal static SafeFileHandle ListenUnix(string path, uint mode, int backlog)
    {
        var address = stackalloc byte[110];
        *(ushort*)address = AF_UNIX;
        if (Encoding.UTF8.GetByteCount(path) > 107)
        {
            throw new LinuxException($"bind {path}", ENAMETOOLONG);
        }
        var length = Encoding.UTF8.GetBytes(path, new Span<byte>(address + 2, 107));
        address[2 + length] = 0;
        RemoveStaleSocket(path);
        var handle = new SafeFileHandle(Check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"), ownsHandle: true);
        try
        {
            Check(bind((int)handle.DangerousGetHandle(), address, (uint)(2 + length + 1)), $"bind {path}");
            // Nobody can connect before listen, so there is no moment with a wider mode.
            Check(chmod(path, mode), $"chmod {path}");
            Check(listen((int)handle.DangerousGetHandle(), backlog), $"listen {path}");
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    private static void RemoveStaleSocket(string path)
    {
        const uint S_IFMT = 0xF000, S_IFSOCK = 0xC000;
        if (!TryStatMode(path, out var mode) || (mode & S_IFMT) != S_IFSOCK)
        {
            return;
        }
        using var probe = TryConnect(path, TimeSpan.FromMilliseconds(100));
        if (probe is null && LastError == ECONNREFUSED)
        {
            _ = unlink(path);
        }
    }

    /// <summary>The next connection, non-blocking; null leaves the reason in <see cref="LastError"/>.</summary>
    internal static SafeFileHandle? TryAccept(SafeFileHandle listener)
    {
        var fd = accept4((int)listener.DangerousGetHandle(), null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : null;
    }

    /// <summary>Who connected, as the kernel saw it then.</summary>
    internal static (int ProcessId, uint UserId, uint GroupId) PeerOf(SafeFileHandle connection)
    {
        var ucred = stackalloc int[3];
        uint length = 12;
        Check(getsockopt((int)connection.DangerousGetHandle(), SOL_SOCKET, SO_PEERCRED, ucred, &length), "getsockopt(SO_PEERCRED)");
        return (ucred[0], (uint)ucred[1], (uint)ucred[2]);
    }

    /// <summary>send(2) once without waiting and without SIGPIPE: the count, or -errno.</summary>
    internal static int TrySend(SafeFileHandle socket, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            nint n;
            while ((n = send((int)socket.DangerousGetHandle(), p, (nuint)buffer.Length, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0 && LastError == EINTR)
            {
            }
            return n >= 0 ? (int)n : -LastError;
        }
    }

    /// <summary>recv(2) once without waiting: the count, 0 at the end, or -errno.</summary>
    internal static int TryReceive(SafeFileHandle socket, Span<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            nint n;
            while ((n = recv((int)socket.DangerousGetHandle(), p, (nuint)buffer.Length, MSG_DONTWAIT)) < 0 && LastError == EINTR)
            {
            }
            return n >= 0 ? (int)n : -LastError;
        }
    }

    /// <summary>Sends one message, with an fd or without; never waits unless <paramref name="wait"/>. 0, or -errno.</summary>
    internal static int SendPacket(SafeFileHandle socket, ReadOnlySpan<byte> packet, SafeFileHandle? handle, bool wait) =>
        Math.Min(0, SendMessage(socket, packet, handle is null ? [] : new ReadOnlySpan<SafeFileHandle>(in handle), wait));

    /// <summary>Receives one message without waiting: its length, 0 at the end, or -errno. The fd is the caller's, close-on-exec.</summary>
    internal static int ReceivePacket(SafeFileHandle socket, Span<byte> packet, out SafeFileHandle? handle)
    {
        handle = null;
        fixed (byte* p = packet)
        {
            var vector = stackalloc nint[2] { (nint)p, packet.Length };
            var control = stackalloc byte[24];
            var message = stackalloc nint[7] { 0, 0, (nint)vector, 1, (nint)control, 24, 0 };
            nint n;
            while ((n = recvmsg((int)socket.DangerousGetHandle(), message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) < 0 && LastError == EINTR)
            {
            }
            if (n < 0)
            {
                return -LastError;
            }
            if (message[5] >= 20 && *(int*)(control + 12) == 1)
            {
                handle = new SafeFileHandle(*(int*)(control + 16), ownsHandle: true);
            }
            return (int)n;
        }
    }

    /// <summary>Room for a few large messages on their way.</summary>
    internal static void SetSendBuffer(SafeFileHandle socket, int bytes) =>
        _ = setsockopt((int)socket.DangerousGetHandle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(int));

    /// <summary>Whether an execve closes the fd.</summary>
    internal static void SetCloseOnExec(SafeFileHandle handle, bool value) =>
        Check(fcntl((int)handle.DangerousGetHandle(), F_SETFD, value ? 1 : 0), "fcntl(F_SETFD)");

    /// <summary>Puts another program in the place of this one: same pid, same children. Returns only to throw.</summary>
    internal static LinuxException Execute(string path, IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        using var argv = new CStringArray(arguments);
        using var envp = new CStringArray(environment);
        _ = execve(path, argv.Pointer, envp.Pointer);
        return Error($"execve {path}");
    }

    /// <summary>Waits for some child to end and leaves it as it is: its pid, or 0 when there are no children.</summary>
    internal static int WaitForDeadChild()
    {
        var status = Wait(P_ALL, 0, WEXITED | WNOWAIT, out var pid);
        return status == NotOurs ? 0 : pid;
    }

    /// <summary>A timer that is readable when it is due; close-on-exec and non-blocking.</summary>
    internal static SafeFileHandle TimerFd() =>
        new(Check(timerfd_create(1, O_CLOEXEC | O_NONBLOCK), "timerfd_create"), ownsHandle: true);

    /// <summary>Sets it off once after this time; zero stops it.</summary>
    internal static void SetTimer(SafeFileHandle timer, TimeSpan after)
    {
        var spec = stackalloc long[4] { 0, 0, after.Ticks / TimeSpan.TicksPerSecond, after.Ticks % TimeSpan.TicksPerSecond * 100 };
        Check(timerfd_settime((int)timer.DangerousGetHandle(), 0, spec, null), "timerfd_settime");
    }

    /// <summary>As many open files as the hard limit lets us have.</summary>
    internal static void RaiseFileLimit()
    {
        const int RLIMIT_NOFILE = 7;
        var limit = stackalloc ulong[2];
        if (getrlimit(RLIMIT_NOFILE, limit) == 0 && limit[0] < limit[1])
        {
            limit[0] = limit[1];
            _ = setrlimit(RLIMIT_NOFILE, limit);
        }
    }

    /// <summary>Ends this process now: no finalizers, no handlers.</summary>
    internal static void ExitNow(int code) => _exit(code);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socketpair(int family, int type, int protocol, int* fds);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int listen(int fd, int backlog);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int accept4(int fd, byte* address, uint* length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getsockopt(int fd, int level, int option, void* value, uint* length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(int fd, byte* buffer, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvmsg(int fd, nint* message, int flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int chmod(string path, uint mode);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int execve(string path, byte** arguments, byte** environment);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int timerfd_create(int clock, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int timerfd_settime(int timer, int flags, long* value, long* old);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getrlimit(int resource, ulong* limit);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setrlimit(int resource, ulong* limit);

    [LibraryImport("libc")]
    private static partial void _exit(int code);
}
