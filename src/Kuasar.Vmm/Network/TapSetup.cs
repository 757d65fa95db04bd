using System.Globalization;
using System.Runtime.InteropServices;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Network;

/// <summary>Makes a tap beside a link and joins the two; undoes it, by marks that tell ours from others'.</summary>
internal static class TapSetup
{
    /// <summary>Of the taps' names; Kuasar's.</summary>
    internal const string Prefix = "tap_kua_";

    /// <summary>The preference of our filters, by which they are known: nobody chooses it by chance.</summary>
    private const ushort Preference = 0x4B55;

    private const ushort RTM_NEWLINK = 16, RTM_DELLINK = 17, RTM_NEWQDISC = 36, RTM_DELQDISC = 37, RTM_NEWTFILTER = 44, RTM_DELTFILTER = 45;
    private const ushort NLM_F_EXCL = 0x200, NLM_F_CREATE = 0x400;
    private const uint TC_H_INGRESS = 0xFFFFFFF1, IngressHandle = 0xFFFF0000;
    private const ushort TCA_KIND = 1, TCA_OPTIONS = 2;

    internal static TapDevice Create(NetlinkSocket netlink, PodLink link, bool persistent)
    {
        var name = Prefix + link.Index.ToString(CultureInfo.InvariantCulture);
        SafeFileHandle? handle = Libc.CreateTap(name);
        try
        {
            if (persistent)
            {
                Libc.KeepTap(handle);
            }
            var index = PodLink.ReadAll(netlink).Find(found => found.Name == name)?.Index ?? throw new IOException($"{name} is not there");
            BringUp(netlink, index, name, link.Mtu);
            Redirect(netlink, link.Index, index, link.Name);
            Redirect(netlink, index, link.Index, name);
            if (persistent)
            {
                // One process has a tap at a time: the hypervisor.
                handle.Dispose();
                handle = null;
            }
            return new TapDevice(name, link.Name, link.MacAddress, (int)link.Mtu, handle);
        }
        catch
        {
            handle?.Dispose();
            throw;
        }
    }

    internal static void RemoveAll(NetlinkSocket netlink)
    {
        foreach (var link in PodLink.ReadAll(netlink))
        {
            if (link.Name.StartsWith(Prefix, StringComparison.Ordinal))
            {
                Forgive(netlink.Try(RTM_DELLINK, 0, LinkHeader(link.Index, 0, 0)), $"remove {link.Name}");
            }
            // The qdisc is ours when our filter is in it.
            else if (netlink.Try(RTM_DELTFILTER, 0, TrafficHeader(link.Index, 0, IngressHandle, FilterInfo)) == 0)
            {
                Forgive(netlink.Try(RTM_DELQDISC, 0, TrafficHeader(link.Index, 0, TC_H_INGRESS, 0)), $"remove the ingress of {link.Name}");
            }
        }
    }

    /// <summary>tc's "protocol all pref N": the preference above the Ethernet type, which is in network order.</summary>
    private static uint FilterInfo => ((uint)Preference << 16) | 0x0300;

    private static void BringUp(NetlinkSocket netlink, int index, string name, uint mtu)
    {
        const ushort IFLA_MTU = 4, IFLA_AF_SPEC = 26, AF_INET6 = 10, IFLA_INET6_ADDR_GEN_MODE = 8;
        const byte IN6_ADDR_GEN_MODE_NONE = 1;
        // No address of its own: the host's kernel would announce it to the guest. Where IPv6 is off that is refused, and needless.
        netlink.Try(RTM_NEWLINK, 0, LinkHeader(index, 0, 0), request => request.Nest(IFLA_AF_SPEC, families =>
            families.Nest(AF_INET6, inet6 => inet6.Add(IFLA_INET6_ADDR_GEN_MODE, [IN6_ADDR_GEN_MODE_NONE]))));
        netlink.Do($"bring up {name}", RTM_NEWLINK, 0, LinkHeader(index, PodLink.IFF_UP, PodLink.IFF_UP), request => request.Add(IFLA_MTU, mtu));
    }

    private static void Redirect(NetlinkSocket netlink, int from, int to, string name)
    {
        const ushort TCA_U32_SEL = 5, TCA_U32_ACT = 7, TCA_ACT_KIND = 1, TCA_ACT_OPTIONS = 2, TCA_MIRRED_PARMS = 2, FirstAction = 1;
        const int TC_ACT_STOLEN = 4, TCA_EGRESS_REDIR = 1;
        netlink.Do($"add an ingress qdisc to {name}", RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
            TrafficHeader(from, IngressHandle, TC_H_INGRESS, 0), static request => request.Add(TCA_KIND, "ingress"));

        // struct tc_u32_sel: flags (terminal), shift, number of keys; 13 bytes of offsets; then a key of 16 bytes, whose mask of 0 fits all.
        byte[] selector = [1, 0, 1, .. new byte[13], .. new byte[16]];
        // struct tc_mirred: index, capabilities, action, two counts; what to do; the device.
        int[] mirred = [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to];
        netlink.Do($"redirect what comes in by {name}", RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL,
            TrafficHeader(from, 0, IngressHandle, FilterInfo), request => request
                .Add(TCA_KIND, "u32")
                .Nest(TCA_OPTIONS, u32 => u32
                    .Add(TCA_U32_SEL, selector)
                    .Nest(TCA_U32_ACT, actions => actions
                        .Nest(FirstAction, action => action
                            .Add(TCA_ACT_KIND, "mirred")
                            .Nest(TCA_ACT_OPTIONS, options => options
                                .Add(TCA_MIRRED_PARMS, MemoryMarshal.AsBytes<int>(mirred)))))));
    }

    /// <summary>Gone meanwhile is as good.</summary>
    private static void Forgive(int error, string what)
    {
        if (error is not (0 or Libc.ENODEV or Libc.ENOENT or Libc.EINVAL))
        {
            throw new LinuxException(what, error);
        }
    }

    // struct ifinfomsg { u8 family, pad; u16 type; i32 index; u32 flags, change; }
    private static byte[] LinkHeader(int index, uint flags, uint change)
    {
        var header = new byte[16];
        BitConverter.TryWriteBytes(header.AsSpan(4), index);
        BitConverter.TryWriteBytes(header.AsSpan(8), flags);
        BitConverter.TryWriteBytes(header.AsSpan(12), change);
        return header;
    }

    // struct tcmsg { u8 family, pad; u16 pad; i32 index; u32 handle, parent, info; }
    private static byte[] TrafficHeader(int index, uint handle, uint parent, uint info)
    {
        var header = new byte[20];
        BitConverter.TryWriteBytes(header.AsSpan(4), index);
        BitConverter.TryWriteBytes(header.AsSpan(8), handle);
        BitConverter.TryWriteBytes(header.AsSpan(12), parent);
        BitConverter.TryWriteBytes(header.AsSpan(16), info);
        return header;
    }
}
