using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <summary>AF_VSOCK, which System.Net.Sockets does not know.</summary>
internal static unsafe partial class Libc
{
    private const int AF_VSOCK = 40, VsockAddressSize = 16;
    private const uint VMADDR_CID_ANY = 0xFFFFFFFF;

    internal static SafeFileHandle ListenVsock(uint port)
    {
        var handle = OpenVsock();
        var address = stackalloc byte[VsockAddressSize];
        WriteVsockAddress(address, VMADDR_CID_ANY, port);
        Check(bind((int)handle.DangerousGetHandle(), address, VsockAddressSize), $"bind vsock port {port}");
        Check(listen((int)handle.DangerousGetHandle(), 128), $"listen on vsock port {port}");
        return handle;
    }

    /// <summary>Blocks for two seconds where nobody listens; null then. That is also so where the host's device refuses at once.</summary>
    internal static SafeFileHandle? TryConnectVsock(uint cid, uint port)
    {
        var handle = OpenVsock();
        var address = stackalloc byte[VsockAddressSize];
        WriteVsockAddress(address, cid, port);
        int result;
        while ((result = connect((int)handle.DangerousGetHandle(), address, VsockAddressSize)) < 0 && LastError == EINTR)
        {
        }
        if (result == 0)
        {
            return handle;
        }
        handle.Dispose();
        return null;
    }

    /// <summary>The fd of a connection that waits; null where it has gone again.</summary>
    internal static int? TryAccept(SafeFileHandle listener)
    {
        var fd = accept4((int)listener.DangerousGetHandle(), null, null, SOCK_CLOEXEC);
        return fd >= 0 ? fd : null;
    }

    /// <summary>Waits until one of the two can be read.</summary>
    internal static void WaitEither(SafeFileHandle one, SafeFileHandle other)
    {
        const int POLLIN = 1;
        var entries = stackalloc int[4] { (int)one.DangerousGetHandle(), POLLIN, (int)other.DangerousGetHandle(), POLLIN };
        while (poll(entries, 2, -1) < 0 && LastError == EINTR)
        {
        }
    }

    private static SafeFileHandle OpenVsock() =>
        new(Check(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket(AF_VSOCK)"), ownsHandle: true);

    /// <summary>struct sockaddr_vm: u16 family, u16, u32 port, u32 cid, u8 flags, 3 bytes.</summary>
    private static void WriteVsockAddress(byte* address, uint cid, uint port)
    {
        new Span<byte>(address, VsockAddressSize).Clear();
        *(ushort*)address = AF_VSOCK;
        *(uint*)(address + 4) = port;
        *(uint*)(address + 8) = cid;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int listen(int fd, int backlog);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int accept4(int fd, byte* address, uint* length, int flags);
}
