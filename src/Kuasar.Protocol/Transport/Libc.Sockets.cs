using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Kuasar.Protocol.Transport;

/// <content>Sockets and epoll without .NET's event loop.</content>
internal static partial class Libc
{
    internal const int Interrupted = 4;
    internal const int TryAgain = 11;
    internal const int MessageDontWait = 0x40;
    internal const int MessageNoSignal = 0x4000;
    internal const int ShutdownBoth = 2;
    internal const int EpollIn = 1;
    internal const int EpollOut = 4;
    internal const int EpollOneShot = 1 << 30;
    internal const int EpollAdd = 1;
    internal const int EpollDelete = 2;
    internal const int EpollModify = 3;
    internal const int EpollCloseOnExec = 0x80000;

    private const int GetFlags = 3;
    private const int SetFlags = 4;
    private const int NonBlocking = 0x800;

    /// <summary>struct epoll_event { u32 events; u64 data; } is packed on x86-64, and only there.</summary>
    internal static int EpollEventSize { get; } = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;
    internal static int EpollDataOffset => EpollEventSize - sizeof(ulong);

    /// <summary>Whether the descriptor is in non-blocking mode; true as well when the system does not say.</summary>
    internal static bool IsNonBlocking(SafeSocketHandle socket) => Fcntl(socket, GetFlags, 0) is var flags && (flags & NonBlocking) != 0;

    internal static void SetBlocking(SafeSocketHandle socket)
    {
        if (Fcntl(socket, GetFlags, 0) is var flags and >= 0)
        {
            _ = Fcntl(socket, SetFlags, flags & ~NonBlocking);
        }
    }

    internal static void SetNonBlocking(SafeSocketHandle socket)
    {
        if (Fcntl(socket, GetFlags, 0) is var flags and >= 0)
        {
            _ = Fcntl(socket, SetFlags, flags | NonBlocking);
        }
    }

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    internal static unsafe partial nint Receive(SafeSocketHandle socket, byte* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    internal static unsafe partial nint SendMessage(SafeSocketHandle socket, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "shutdown")]
    internal static partial int Shutdown(SafeSocketHandle socket, int how);

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    internal static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    internal static unsafe partial int EpollControl(int epoll, int operation, SafeSocketHandle socket, byte* change);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    internal static unsafe partial int EpollWait(int epoll, byte* events, int count, int timeout);

    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Fcntl(SafeSocketHandle socket, int command, int argument);

    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct Vector
    {
        internal byte* Start;
        internal nuint Length;
    }

    /// <summary>struct msghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct MessageHeader
    {
        internal void* Name;
        internal uint NameLength;
        internal Vector* Vectors;
        internal nuint VectorCount;
        internal void* Control;
        internal nuint ControlLength;
        internal int Flags;
    }
}
