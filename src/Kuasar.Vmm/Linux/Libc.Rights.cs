using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <content>Open files through unix sockets.</content>
internal static unsafe partial class Libc
{
    private const int SCM_RIGHTS = 1, MaxHandles = 16;

    /// <summary>Sends bytes with open files beside the first of them; waits while the socket is full. The count of bytes that went, 1 or more.</summary>
    /// <param name="socket">A blocking unix stream socket.</param>
    /// <param name="bytes">At least one.</param>
    /// <param name="handles">1 to 16; the receiver gets copies.</param>
    internal static int SendWithHandles(SafeHandle socket, ReadOnlySpan<byte> bytes, IReadOnlyList<SafeFileHandle> handles)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(handles.Count, MaxHandles);
        // struct cmsghdr { size_t len; int level; int type; }, then the descriptors; the whole padded to 8.
        const int Header = 16;
        var length = Header + handles.Count * sizeof(int);
        var control = stackalloc byte[Header + MaxHandles * sizeof(int)];
        *(nint*)control = length;
        *(int*)(control + 8) = SOL_SOCKET;
        *(int*)(control + 12) = SCM_RIGHTS;
        for (var i = 0; i < handles.Count; i++)
        {
            *(int*)(control + Header + i * sizeof(int)) = (int)handles[i].DangerousGetHandle();
        }
        fixed (byte* p = bytes)
        {
            var vector = stackalloc nint[2] { (nint)p, bytes.Length };
            // struct msghdr { name, namelen; iov, iovlen; control, controllen; flags }.
            var message = stackalloc nint[7] { 0, 0, (nint)vector, 1, (nint)control, (length + 7) & ~7, 0 };
            nint n;
            while ((n = sendmsg((int)socket.DangerousGetHandle(), message, MSG_NOSIGNAL)) < 0 && LastError == EINTR)
            {
            }
            return (int)Check(n, "sendmsg");
        }
    }
}
