using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <summary>Blocking unix sockets, for a process that is over before System.Net.Sockets would have started its thread.</summary>
internal static unsafe partial class Libc
{
    private const int AF_UNIX = 1, SOCK_STREAM = 1, SOCK_CLOEXEC = 0x80000, SOL_SOCKET = 1, SO_RCVTIMEO = 20, SO_SNDTIMEO = 21,
        MSG_NOSIGNAL = 0x4000, MSG_DONTWAIT = 0x40;

    /// <summary>A connected blocking stream socket; null when nobody answers there, with errno in <see cref="LastError"/>.</summary>
    /// <remarks>The path has at most 107 bytes. The timeout is how long a full backlog may hold the call.</remarks>
    internal static SafeFileHandle? TryConnect(string path, TimeSpan timeout)
    {
        // struct sockaddr_un: u16 family, then the path and its 0.
        var address = stackalloc byte[110];
        *(ushort*)address = AF_UNIX;
        var length = Encoding.UTF8.GetBytes(path, new Span<byte>(address + 2, 107));
        address[2 + length] = 0;

        var handle = new SafeFileHandle(Check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"), ownsHandle: true);
        SetTimeout(handle, SO_SNDTIMEO, timeout);
        int result;
        while ((result = connect((int)handle.DangerousGetHandle(), address, (uint)(2 + length + 1))) < 0 && LastError == EINTR)
        {
        }
        if (result == 0)
        {
            return handle;
        }
        var error = LastError;
        handle.Dispose();
        Marshal.SetLastPInvokeError(error);
        return null;
    }

    /// <summary>send(2) once, without SIGPIPE: the count, or -errno; -EAGAIN when the time is over.</summary>
    internal static int Send(SafeFileHandle handle, ReadOnlySpan<byte> buffer, TimeSpan timeout)
    {
        SetTimeout(handle, SO_SNDTIMEO, timeout);
        fixed (byte* p = buffer)
        {
            var n = (int)send((int)handle.DangerousGetHandle(), p, (nuint)buffer.Length, MSG_NOSIGNAL);
            return n >= 0 ? n : -LastError;
        }
    }

    /// <summary>read(2) once: the count, 0 at the end, or -errno; -EAGAIN when the time is over.</summary>
    internal static int Receive(SafeFileHandle handle, Span<byte> buffer, TimeSpan timeout)
    {
        SetTimeout(handle, SO_RCVTIMEO, timeout);
        return Read(handle, buffer);
    }

    /// <summary>sendmsg(2), once: the count, or -errno. The receiver gets copies of the handles, beside the first byte (SCM_RIGHTS).</summary>
    /// <param name="socket">A unix socket.</param>
    /// <param name="bytes">At least one.</param>
    /// <param name="handles">At most 16.</param>
    /// <param name="wait">While the socket is full; for a blocking one.</param>
    internal static int SendMessage(SafeHandle socket, ReadOnlySpan<byte> bytes, ReadOnlySpan<SafeFileHandle> handles, bool wait)
    {
        const int MaxHandles = 16, Header = 16, SCM_RIGHTS = 1;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(handles.Length, MaxHandles);
        // struct cmsghdr { size_t len; int level; int type; }, then the descriptors; the whole padded to 8.
        var length = Header + (handles.Length * sizeof(int));
        var control = stackalloc byte[Header + (MaxHandles * sizeof(int))];
        *(nint*)control = length;
        *(int*)(control + 8) = SOL_SOCKET;
        *(int*)(control + 12) = SCM_RIGHTS;
        for (var i = 0; i < handles.Length; i++)
        {
            *(int*)(control + Header + (i * sizeof(int))) = (int)handles[i].DangerousGetHandle();
        }
        fixed (byte* p = bytes)
        {
            var vector = stackalloc nint[2] { (nint)p, bytes.Length };
            // struct msghdr { name, namelen; iov, iovlen; control, controllen; flags }.
            var message = stackalloc nint[7] { 0, 0, (nint)vector, 1, handles.IsEmpty ? 0 : (nint)control, handles.IsEmpty ? 0 : (length + 7) & ~7, 0 };
            nint n;
            while ((n = sendmsg((int)socket.DangerousGetHandle(), message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT))) < 0 && LastError == EINTR)
            {
            }
            return n >= 0 ? (int)n : -LastError;
        }
    }

    private static void SetTimeout(SafeHandle handle, int option, TimeSpan timeout)
    {
        // Zero would mean for ever.
        var microseconds = Math.Max(1, timeout.Ticks / TimeSpan.TicksPerMicrosecond);
        var timeval = stackalloc long[2] { microseconds / 1_000_000, microseconds % 1_000_000 };
        Check(setsockopt((int)handle.DangerousGetHandle(), SOL_SOCKET, option, timeval, 16), "setsockopt");
    }

    /// <summary>Waits until the fd can be read (a pidfd: until its process has ended); false when the time is over first.</summary>
    internal static bool WaitReadable(SafeFileHandle handle, TimeSpan timeout)
    {
        const short POLLIN = 1;
        // struct pollfd: int fd, short events, short revents.
        var entry = stackalloc int[2] { (int)handle.DangerousGetHandle(), POLLIN };
        var milliseconds = (int)Math.Clamp(Math.Ceiling(timeout.TotalMilliseconds), 0, int.MaxValue);
        int result;
        while ((result = poll(entry, 1, milliseconds)) < 0 && LastError == EINTR)
        {
        }
        return Check(result, "poll") > 0;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int family, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int connect(int fd, byte* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(int fd, byte* buffer, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int fd, int level, int option, void* value, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int poll(int* entries, nuint count, int timeout);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendmsg(int fd, nint* message, int flags);
}
