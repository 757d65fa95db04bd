using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <content>Taps and netlink.</content>
internal static unsafe partial class Libc
{
    internal const int IFNAMSIZ = 16;

    /// <summary>An rtnetlink socket of this thread's network namespace; answers are waited for no longer than the time.</summary>
    internal static SafeFileHandle OpenRouteSocket(TimeSpan timeout)
    {
        const int AF_NETLINK = 16, SOCK_RAW = 3, NETLINK_ROUTE = 0;
        var handle = new SafeFileHandle(Check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket(AF_NETLINK)"), ownsHandle: true);
        SetTimeout(handle, SO_RCVTIMEO, timeout);
        return handle;
    }

    /// <summary>Makes a tap in this thread's network namespace and opens it: Ethernet frames, each behind a virtio_net_hdr.</summary>
    internal static SafeFileHandle CreateTap(string name)
    {
        const uint TUNSETIFF = 0x400454CA;
        const short IFF_TAP = 2, IFF_NO_PI = 0x1000, IFF_VNET_HDR = 0x4000;
        var handle = Open("/dev/net/tun", O_RDWR);
        try
        {
            // struct ifreq: the name, then for this call its flags; 40 bytes.
            var request = stackalloc byte[40];
            new Span<byte>(request, 40).Clear();
            Encoding.ASCII.GetBytes(name, new Span<byte>(request, IFNAMSIZ - 1));
            *(short*)(request + IFNAMSIZ) = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
            Check(ioctl((int)handle.DangerousGetHandle(), TUNSETIFF, request), $"ioctl(TUNSETIFF) {name}");
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>The tap stays when it is closed, for a hypervisor that opens it by its name.</summary>
    internal static void KeepTap(SafeFileHandle handle)
    {
        const uint TUNSETPERSIST = 0x400454CB;
        Check(ioctl((int)handle.DangerousGetHandle(), TUNSETPERSIST, (void*)1), "ioctl(TUNSETPERSIST)");
    }
}
