using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <content>Open files through unix sockets.</content>
internal static unsafe partial class Libc
{
    /// <summary>Sends bytes with open files beside the first of them; waits while the socket is full. The count of bytes that went, 1 or more.</summary>
    /// <inheritdoc cref="SendMessage"/>
    internal static int SendWithHandles(SafeHandle socket, ReadOnlySpan<byte> bytes, ReadOnlySpan<SafeFileHandle> handles)
    {
        var sent = SendMessage(socket, bytes, handles, wait: true);
        return sent >= 0 ? sent : throw new LinuxException("sendmsg", -sent);
    }
}
