using Kuasar.Linux;
using Kuasar.Vmm.Contracts.Agent;
using Kuasar.Vmm.Network;

namespace Kuasar.Vmm;

/// <summary>
/// The network of a pod, as CNI has made it in a network namespace of the host, and the taps by which a guest takes it over: with the
/// interface's hardware address, addresses, routes and MTU, so that nobody outside sees a difference. Disposing closes the taps.
/// </summary>
/// <remarks>
/// Each interface and its tap are joined by redirecting, at the ingress of either, everything to the egress of the other (tc: u32, mirred).
/// The interface keeps its addresses in the namespace, where no packet reaches them any more.
/// </remarks>
public sealed class GuestNetwork : IDisposable
{
    private GuestNetwork(IReadOnlyList<Interface> interfaces, IReadOnlyList<Route> routes, IReadOnlyList<TapDevice> taps)
    {
        Interfaces = interfaces;
        Routes = routes;
        Taps = taps;
    }

    /// <summary>No network.</summary>
    public static GuestNetwork None { get; } = new([], [], []);

    /// <summary>For the guest agent's SetupSandbox and UpdateInterfaces.</summary>
    public IReadOnlyList<Interface> Interfaces { get; }

    /// <summary>For the guest agent's SetupSandbox and UpdateRoutes: all of the main table, those without a gateway first.</summary>
    public IReadOnlyList<Route> Routes { get; }

    /// <summary>One for each interface, in the same order; none when the network was only read.</summary>
    public IReadOnlyList<TapDevice> Taps { get; }

    /// <summary>Reads what the namespace has, and leaves it as it is.</summary>
    /// <param name="networkNamespace">Path of the namespace's file.</param>
    /// <exception cref="IOException">The file is no network namespace, or the caller may not enter it.</exception>
    public static Task<GuestNetwork> ReadAsync(string networkNamespace)
    {
        ArgumentException.ThrowIfNullOrEmpty(networkNamespace);
        return NetworkNamespace.RunAsync(networkNamespace, static () =>
        {
            using var netlink = new NetlinkSocket();
            return Describe(netlink, LinksOf(netlink), []);
        });
    }

    /// <summary>Gives each interface that is up a tap. What an earlier attempt has left is replaced; when it fails, nothing is left.</summary>
    /// <param name="networkNamespace">Path of the namespace's file.</param>
    /// <param name="persistent">
    /// The taps stay when they are closed, for a hypervisor that opens them by name; <see cref="DetachAsync"/> removes them. Else each
    /// comes open, and goes with the hypervisor.
    /// </param>
    /// <returns>The network with its open taps, which the caller disposes once the hypervisor has them.</returns>
    /// <exception cref="IOException">
    /// As for <see cref="ReadAsync"/>; an interface is no Ethernet; something else is at an interface's ingress; or there is no /dev/net/tun.
    /// </exception>
    public static Task<GuestNetwork> AttachAsync(string networkNamespace, bool persistent = false)
    {
        ArgumentException.ThrowIfNullOrEmpty(networkNamespace);
        return NetworkNamespace.RunAsync(networkNamespace, () =>
        {
            using var netlink = new NetlinkSocket();
            TapSetup.RemoveAll(netlink);
            var taps = new List<TapDevice>();
            try
            {
                var links = LinksOf(netlink);
                foreach (var link in links)
                {
                    taps.Add(TapSetup.Create(netlink, link, persistent));
                }
                return Describe(netlink, links, taps);
            }
            catch
            {
                taps.ForEach(static tap => tap.Handle?.Dispose());
                TapSetup.RemoveAll(netlink);
                throw;
            }
        });
    }

    /// <summary>Removes taps and redirections, whoever made them here. A namespace that has gone, or that has none of it, is a success.</summary>
    /// <exception cref="IOException">The caller may not enter the namespace, or the kernel refuses.</exception>
    public static async Task DetachAsync(string networkNamespace)
    {
        ArgumentException.ThrowIfNullOrEmpty(networkNamespace);
        try
        {
            await NetworkNamespace.RunAsync(networkNamespace, static () =>
            {
                using var netlink = new NetlinkSocket();
                TapSetup.RemoveAll(netlink);
                return true;
            }).ConfigureAwait(false);
        }
        catch (LinuxException error) when (error.Errno is Libc.ENOENT or Libc.EINVAL && !File.Exists(networkNamespace))
        {
            // CNI was quicker.
        }
    }

    /// <summary>Closes the taps; idempotent.</summary>
    public void Dispose()
    {
        foreach (var tap in Taps)
        {
            tap.Handle?.Dispose();
        }
    }

    private static List<PodLink> LinksOf(NetlinkSocket netlink)
    {
        var links = PodLink.ReadAll(netlink).FindAll(static link =>
            link.IsUp && (link.Flags & PodLink.IFF_LOOPBACK) == 0 && !link.Name.StartsWith(TapSetup.Prefix, StringComparison.Ordinal));
        return links.Find(static link => !link.IsEthernet) is { } strange
            ? throw new IOException($"interface {strange.Name} ({strange.Kind}) is no Ethernet; a guest's network device is")
            : links;
    }

    private static GuestNetwork Describe(NetlinkSocket netlink, List<PodLink> links, IReadOnlyList<TapDevice> taps)
    {
        var addresses = PodLink.ReadAddresses(netlink).ToLookup(static found => found.Link, static found => found.Address);
        var interfaces = links.ConvertAll(link =>
        {
            var described = new Interface
            {
                Device = link.Name,
                Name = link.Name,
                Mtu = link.Mtu,
                HwAddr = link.MacAddress,
                Type = link.Kind,
                RawFlags = link.Flags,
            };
            described.IPAddresses.AddRange(addresses[link.Index]);
            return described;
        });
        var routes = PodLink.ReadRoutes(netlink, links.ToDictionary(static link => link.Index, static link => link.Name));
        return new GuestNetwork(interfaces, [.. routes.OrderBy(static route => route.Gateway.Length > 0)], taps);
    }
}
