using System.Globalization;
using System.Runtime.InteropServices;
using Kuasar.Vmm.Contracts.Agent;
using IPAddress = Kuasar.Vmm.Contracts.Agent.IPAddress;

namespace Kuasar.Vmm.Network;

/// <summary>A link of a network namespace, as the kernel tells it.</summary>
internal sealed record PodLink(int Index, string Name, string Kind, int HardwareType, uint Flags, uint Mtu, byte[] Address)
{
    internal const uint IFF_UP = 1, IFF_LOOPBACK = 8;
    private const ushort RTM_GETLINK = 18, NLM_F_DUMP = 0x300;
    private const int ARPHRD_ETHER = 1;

    internal bool IsEthernet => HardwareType == ARPHRD_ETHER;

    internal bool IsUp => (Flags & IFF_UP) != 0;

    internal string MacAddress => string.Join(':', Address.Select(b => b.ToString("x2", CultureInfo.InvariantCulture)));

    internal static List<PodLink> ReadAll(NetlinkSocket netlink)
    {
        const int IFLA_ADDRESS = 1, IFLA_IFNAME = 3, IFLA_MTU = 4, IFLA_LINKINFO = 18, IFLA_INFO_KIND = 1;
        return netlink.Dump(new NetlinkRequest(RTM_GETLINK, NLM_F_DUMP, new byte[16]), static body =>
        {
            // struct ifinfomsg { u8 family, pad; u16 type; i32 index; u32 flags, change; }
            var attributes = new NetlinkAttributes(body[16..]);
            return new PodLink(
                MemoryMarshal.Read<int>(body[4..]), attributes.Text(IFLA_IFNAME), new NetlinkAttributes(attributes[IFLA_LINKINFO]).Text(IFLA_INFO_KIND),
                MemoryMarshal.Read<ushort>(body[2..]), MemoryMarshal.Read<uint>(body[8..]), attributes.Number(IFLA_MTU), attributes[IFLA_ADDRESS].ToArray());
        });
    }

    /// <summary>Addresses of all links but link-local ones of IPv6, which each kernel gives itself.</summary>
    internal static List<(int Link, IPAddress Address)> ReadAddresses(NetlinkSocket netlink)
    {
        const ushort RTM_GETADDR = 22;
        const int IFA_ADDRESS = 1, IFA_LOCAL = 2;
        return netlink.Dump(new NetlinkRequest(RTM_GETADDR, NLM_F_DUMP, new byte[8]), static body =>
        {
            // struct ifaddrmsg { u8 family, prefix length, flags, scope; u32 index; }
            var attributes = new NetlinkAttributes(body[8..]);
            // LOCAL is ours and ADDRESS the peer's, where the two differ.
            var bytes = attributes[IFA_LOCAL] is { IsEmpty: false } local ? local : attributes[IFA_ADDRESS];
            if (bytes.Length is not (4 or 16) || new System.Net.IPAddress(bytes) is not { IsIPv6LinkLocal: false } address)
            {
                return null;
            }
            var message = new IPAddress
            {
                Family = bytes.Length == 4 ? IPFamily.V4 : IPFamily.V6,
                Address = address.ToString(),
                Mask = body[1].ToString(CultureInfo.InvariantCulture),
            };
            return Tuple.Create(MemoryMarshal.Read<int>(body[4..]), message);
        }).ConvertAll(static found => (found.Item1, found.Item2));
    }

    /// <summary>Routes of the main table over these links, connected networks included. Not those with several next hops.</summary>
    internal static List<Route> ReadRoutes(NetlinkSocket netlink, IReadOnlyDictionary<int, string> links)
    {
        const ushort RTM_GETROUTE = 26;
        return netlink.Dump(new NetlinkRequest(RTM_GETROUTE, NLM_F_DUMP, new byte[12]), body => ParseRoute(body, links));
    }

    private static Route? ParseRoute(ReadOnlySpan<byte> body, IReadOnlyDictionary<int, string> links)
    {
        const int RTA_DST = 1, RTA_OIF = 4, RTA_GATEWAY = 5, RTA_PREFSRC = 7, RTA_TABLE = 15;
        const int AF_INET = 2, AF_INET6 = 10, RT_TABLE_MAIN = 254, RTN_UNICAST = 1, RTM_F_CLONED = 0x200;
        const uint RTNH_F_ONLINK = 4;

        // struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags; }
        var (family, prefix, scope, type) = (body[0], body[1], body[6], body[7]);
        var flags = MemoryMarshal.Read<uint>(body[8..]);
        var attributes = new NetlinkAttributes(body[12..]);
        var table = attributes.Number(RTA_TABLE) is not 0 and var number ? number : body[4];
        if (family is not (AF_INET or AF_INET6) || table != RT_TABLE_MAIN || type != RTN_UNICAST || (flags & RTM_F_CLONED) != 0
            || !links.TryGetValue((int)attributes.Number(RTA_OIF), out var device))
        {
            return null;
        }
        return new Route
        {
            Dest = attributes[RTA_DST] is { IsEmpty: false } target ? $"{new System.Net.IPAddress(target)}/{prefix}" : "",
            Gateway = Show(attributes[RTA_GATEWAY]),
            Device = device,
            // vmm-task takes an IPv6 source for a source prefix, which most kernels refuse.
            Source = family == AF_INET ? Show(attributes[RTA_PREFSRC]) : "",
            Scope = scope,
            Family = family == AF_INET ? IPFamily.V4 : IPFamily.V6,
            Flags = flags & RTNH_F_ONLINK,
        };
    }

    private static string Show(ReadOnlySpan<byte> address) => address.Length is 4 or 16 ? new System.Net.IPAddress(address).ToString() : "";
}
