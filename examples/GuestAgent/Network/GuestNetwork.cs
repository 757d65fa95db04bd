using System.Globalization;

using Kuasar.Linux;
using Kuasar.Sandbox;
using Kuasar.Vmm.Contracts.Agent;

namespace GuestAgent.Network;

/// <summary>Gives the guest's interfaces the names, addresses and routes that the pod's have on the host.</summary>
internal sealed class GuestNetwork
{
    private const uint Up = 1;
    private const ushort LinkName = 3, LinkMtu = 4;

    /// <summary>How long a device that has just been plugged in may take to be seen.</summary>
    private static readonly TimeSpan DeviceLimit = TimeSpan.FromSeconds(5), Pause = TimeSpan.FromMilliseconds(20);

    private readonly Lock _lock = new();

    internal void StartLoopback()
    {
        lock (_lock)
        {
            using var netlink = new Netlink();
            ChangeLink(netlink, "lo", IndexOf("lo"), Up, new NetlinkBody(default));
        }
    }

    /// <exception cref="SandboxException">NotFound: there is no such device. InvalidArgument: an address is none.</exception>
    internal async Task UpdateInterfacesAsync(IEnumerable<Interface> interfaces, CancellationToken cancellationToken)
    {
        foreach (var wanted in interfaces)
        {
            var device = await FindAsync(wanted, cancellationToken);
            lock (_lock)
            {
                using var netlink = new Netlink();
                Update(netlink, device, wanted);
            }
        }
    }

    private static void Update(Netlink netlink, string device, Interface wanted)
    {
        var index = IndexOf(device);
        if (wanted.Name.Length > 0 && wanted.Name != device)
        {
            // Kernels before 6.1 rename none that is up.
            ChangeLink(netlink, device, index, 0, new NetlinkBody(default));
            ChangeLink(netlink, device, index, 0, new NetlinkBody(default).Add(LinkName, wanted.Name));
        }
        var more = new NetlinkBody(default);
        if (wanted.Mtu > 0)
        {
            more.Add(LinkMtu, (int)wanted.Mtu);
        }
        // Up before it has addresses: with IPv6 they would be lost else.
        ChangeLink(netlink, device, index, Up, more);
        new InterfaceAddresses(netlink, wanted.Name, index).Replace(wanted.IPAddresses);
    }

    /// <summary>struct ifinfomsg: u8 family, u8, u16 type, i32 index, u32 flags, u32 which of them to change.</summary>
    private static void ChangeLink(Netlink netlink, string name, int index, uint up, NetlinkBody attributes)
    {
        Span<byte> header = stackalloc byte[16];
        header.Clear();
        BitConverter.TryWriteBytes(header[4..], index);
        BitConverter.TryWriteBytes(header[8..], up);
        BitConverter.TryWriteBytes(header[12..], Up);
        netlink.Change($"change link {name}", Netlink.NewLink, 0, [.. header, .. attributes.Bytes]);
    }

    /// <summary>By its hardware address, else by the name that it has or is to have.</summary>
    private static async Task<string> FindAsync(Interface wanted, CancellationToken cancellationToken)
    {
        for (var deadline = Deadline.After(DeviceLimit); ; await Task.Delay(Pause, cancellationToken))
        {
            foreach (var folder in Directory.GetDirectories("/sys/class/net"))
            {
                var name = Path.GetFileName(folder);
                if (wanted.HwAddr.Length > 0 && name != "lo" && wanted.Name != "lo"
                    ? string.Equals(File.ReadAllText(folder + "/address").Trim(), wanted.HwAddr, StringComparison.OrdinalIgnoreCase)
                    : name == (wanted.Device.Length > 0 ? wanted.Device : wanted.Name))
                {
                    return name;
                }
            }
            if (deadline.IsOver)
            {
                throw new SandboxException(SandboxError.NotFound, $"the guest has no network device {wanted.HwAddr} for {wanted.Name}");
            }
        }
    }

    internal static int IndexOf(string device)
    {
        var path = $"/sys/class/net/{device}/ifindex";
        return File.Exists(path)
            ? int.Parse(File.ReadAllText(path), CultureInfo.InvariantCulture)
            : throw new SandboxException(SandboxError.NotFound, $"the guest has no network device {device}");
    }

    /// <exception cref="SandboxException">As <see cref="UpdateInterfacesAsync"/>.</exception>
    internal void UpdateRoutes(IEnumerable<Route> routes)
    {
        lock (_lock)
        {
            using var netlink = new Netlink();
            // A gateway must be reachable before it is one.
            foreach (var route in routes.OrderBy(route => route.Gateway.Length > 0))
            {
                AddRoute(netlink, route);
            }
        }
    }

    /// <summary>struct rtmsg: u8 family, destination's and source's prefix, tos, table, protocol, scope, type, then u32 flags.</summary>
    private static void AddRoute(Netlink netlink, Route route)
    {
        const byte MainTable = 254, StaticProtocol = 4, Unicast = 1;
        const ushort Destination = 1, OutInterface = 4, Gateway = 5, PreferredSource = 7;
        var gateway = route.Gateway.Length > 0 ? Address.Parse(route.Gateway) : null;
        var (destination, prefix) = route.Dest.Length > 0 ? Address.ParsePrefix(route.Dest) : (null, 0);
        var family = Address.FamilyOf(destination ?? gateway, route.Family);
        Span<byte> header = [family, (byte)prefix, 0, 0, MainTable, StaticProtocol, (byte)route.Scope, Unicast, 0, 0, 0, 0];
        BitConverter.TryWriteBytes(header[8..], route.Flags);
        var body = new NetlinkBody(header);
        Add(Destination, prefix > 0 ? destination : null);
        Add(Gateway, gateway);
        Add(PreferredSource, route.Source.Length > 0 ? Address.Parse(route.Source) : null);
        if (route.Device.Length > 0)
        {
            body.Add(OutInterface, IndexOf(route.Device));
        }
        netlink.Change($"add route to {route.Dest} by {route.Gateway} {route.Device}", Netlink.NewRoute, Netlink.Create | Netlink.Replace, body.Bytes);

        void Add(ushort type, System.Net.IPAddress? address)
        {
            if (address is not null)
            {
                body.Add(type, address.GetAddressBytes());
            }
        }
    }
}
