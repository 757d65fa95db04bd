using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <content>Sockets of a family that System.Net.Sockets does not make.</content>
internal static unsafe partial class Libc
{
    internal const int ENODEV = 19, EADDRINUSE = 98, ENETUNREACH = 101, ECONNRESET = 104, ETIMEDOUT = 110, ECONNREFUSED = 111,
        EHOSTUNREACH = 113, EINPROGRESS = 115;

    private const int AF_VSOCK = 40, SOCK_NONBLOCK = 0x800, SO_ERROR = 4;

    /// <summary>
    /// struct sockaddr_vm { u16 family; u16 reserved; u32 port; u32 cid; u8 flags; u8 zero[3]; }, 16 bytes.
    /// </summary>
    [StructLayout(LayoutKind.Sequential, Size = 16)]
    private struct VsockAddress
    {
        internal ushort Family;
        internal ushort Reserved;
        internal uint Port;
        internal uint Cid;
    }

    /// <summary>A stream socket of AF_VSOCK, non-blocking and close-on-exec.</summary>
    internal static SafeSocketHandle OpenVsock() =>
        new(Check(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket(AF_VSOCK)"), ownsHandle: true);

    /// <summary>connect(2); false with errno, EINPROGRESS as a rule.</summary>
    internal static bool TryConnectVsock(SafeSocketHandle handle, uint cid, uint port, out int error)
    {
        var address = new VsockAddress { Family = AF_VSOCK, Cid = cid, Port = port };
        error = connect((int)handle.DangerousGetHandle(), (byte*)&address, (uint)sizeof(VsockAddress)) == 0 ? 0 : LastError;
        return error == 0;
    }

    /// <summary>bind(2) and listen(2); the port, chosen by the kernel if it was ANY.</summary>
    internal static uint ListenVsock(SafeSocketHandle handle, uint cid, uint port, int backlog)
    {
        var fd = (int)handle.DangerousGetHandle();
        var address = new VsockAddress { Family = AF_VSOCK, Cid = cid, Port = port };
        Check(bind(fd, &address, (uint)sizeof(VsockAddress)), "bind");
        Check(listen(fd, backlog), "listen");
        var length = (uint)sizeof(VsockAddress);
        Check(getsockname(fd, &address, &length), "getsockname");
        return address.Port;
    }

    /// <summary>accept4(2); null when it failed, for whatever reason.</summary>
    internal static SafeSocketHandle? AcceptVsock(SafeSocketHandle listener, out uint cid, out uint port)
    {
        VsockAddress address;
        var length = (uint)sizeof(VsockAddress);
        var fd = accept4((int)listener.DangerousGetHandle(), &address, &length, SOCK_CLOEXEC);
        (cid, port) = (address.Cid, address.Port);
        return fd < 0 ? null : new SafeSocketHandle(fd, ownsHandle: true);
    }

    /// <summary>Back to blocking mode, in which .NET wants to be given a socket.</summary>
    internal static void SetBlocking(SafeSocketHandle handle)
    {
        var fd = (int)handle.DangerousGetHandle();
        Check(fcntl(fd, F_SETFL, Check(fcntl(fd, F_GETFL, 0), "fcntl(F_GETFL)") & ~O_NONBLOCK), "fcntl(F_SETFL)");
    }

    /// <summary>Waits until a connect has ended; false when the time is over first.</summary>
    internal static bool WaitWritable(SafeSocketHandle handle, TimeSpan timeout)
    {
        var entry = new PollEntry { Fd = (int)handle.DangerousGetHandle(), Events = (short)POLLOUT };
        return Poll(&entry, 1, (int)timeout.TotalMilliseconds) > 0;
    }

    /// <summary>Waits for the socket without end; false when the other one has become readable.</summary>
    internal static bool WaitReadableOrStop(SafeSocketHandle handle, SafeFileHandle stop)
    {
        var entries = stackalloc PollEntry[2]
        {
            new PollEntry { Fd = (int)handle.DangerousGetHandle(), Events = (short)POLLIN },
            new PollEntry { Fd = (int)stop.DangerousGetHandle(), Events = (short)POLLIN },
        };
        Poll(entries, 2, -1);
        return entries[1].Happened == 0;
    }

    /// <summary>SO_ERROR: how a connect has ended; 0 is well.</summary>
    internal static int TakeSocketError(SafeSocketHandle handle)
    {
        int error;
        uint length = sizeof(int);
        Check(getsockopt((int)handle.DangerousGetHandle(), SOL_SOCKET, SO_ERROR, &error, &length), "getsockopt(SO_ERROR)");
        return error;
    }

    /// <summary>
    /// A bound unix socket. One that .NET binds deletes the file when it is disposed, even after another process has bound the name.
    /// </summary>
    internal static Socket BindUnix(string path)
    {
        var bytes = Encoding.UTF8.GetByteCount(path);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes, 107, nameof(path));
        var address = stackalloc byte[110];
        *(ushort*)address = AF_UNIX;
        Encoding.UTF8.GetBytes(path, new Span<byte>(address + 2, 107));
        address[2 + bytes] = 0;
        var handle = new SafeSocketHandle(Check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"), ownsHandle: true);
        if (bind((int)handle.DangerousGetHandle(), address, (uint)(2 + bytes + 1)) != 0)
        {
            var error = Error($"bind {path}");
            handle.Dispose();
            throw error;
        }
        return new Socket(handle);
    }

    /// <summary>The inode of a socket file; 0 when there is none.</summary>
    internal static long SocketInode(string path)
    {
        // struct statx: stx_mode is the u16 at 28, stx_ino the u64 at 32.
        var buffer = stackalloc byte[256];
        const int AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100;
        const uint STATX_TYPE_INO = 0x101;
        return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE_INO, buffer) == 0 && (*(ushort*)(buffer + 28) & 0xF000) == 0xC000
            ? *(long*)(buffer + 32)
            : 0;
    }

    private static int Poll(PollEntry* entries, int count, int milliseconds)
    {
        int result;
        while ((result = poll((int*)entries, (nuint)count, milliseconds)) < 0 && LastError == EINTR)
        {
        }
        return Check(result, "poll");
    }

    /// <summary>struct pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct PollEntry
    {
        internal int Fd;
        internal short Events;
        internal short Happened;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, void* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int listen(int fd, int backlog);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int accept4(int fd, void* address, uint* length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getsockname(int fd, void* address, uint* length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getsockopt(int fd, int level, int option, void* value, uint* length);
}
