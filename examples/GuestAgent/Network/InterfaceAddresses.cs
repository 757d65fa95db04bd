using Kuasar.Linux;
using Kuasar.Vmm.Contracts.Agent;

namespace GuestAgent.Network;

/// <summary>The addresses of one interface.</summary>
internal sealed class InterfaceAddresses(Netlink netlink, string name, int index)
{
    /// <summary>struct ifaddrmsg: u8 family, u8 prefix, u8 flags, u8 scope, u32 interface.</summary>
    private const int StructSize = 8;

    private const ushort AddressAttribute = 1, LocalAttribute = 2;
    private const byte NoDuplicateDetection = 2, LinkScope = 253;
    private const int EADDRNOTAVAIL = 99;

    /// <summary>Gives it these, and takes others from it but for link-local ones.</summary>
    internal void Replace(IEnumerable<IPAddress> wanted)
    {
        var addresses = wanted.Select(entry => (Address: Address.Parse(entry.Address), Entry: entry)).ToList();
        var keep = addresses.ConvertAll(wanted => wanted.Address.GetAddressBytes());
        // First, as those of the same network go with the one that was there first.
        foreach (var other in netlink.List("list addresses", Netlink.GetAddress, new byte[StructSize]).Where(entry => IsOther(entry, keep)))
        {
            TryRemove(other);
        }
        foreach (var (address, entry) in addresses)
        {
            var prefix = (byte)Address.PrefixOf(entry.Mask, address);
            var body = Body([Address.FamilyOf(address, entry.Family), prefix, NoDuplicateDetection, 0], address.GetAddressBytes());
            netlink.Change($"add address {entry.Address}/{entry.Mask} to {name}", Netlink.NewAddress, Netlink.Create | Netlink.Replace, body.Bytes);
        }
    }

    private bool IsOther(byte[] entry, List<byte[]> keep) =>
        BitConverter.ToInt32(entry, 4) == index && entry[3] != LinkScope && !keep.Exists(address => ValueOf(entry).AsSpan().SequenceEqual(address));

    private static byte[] ValueOf(byte[] entry) =>
        Netlink.Attributes(entry, StructSize).Where(a => a.Type is LocalAttribute or AddressAttribute).OrderByDescending(a => a.Type).Select(a => a.Value).FirstOrDefault() ?? [];

    private void TryRemove(byte[] entry)
    {
        try
        {
            netlink.Change($"remove an address of {name}", Netlink.DeleteAddress, 0, Body(entry.AsSpan(0, 4), ValueOf(entry)).Bytes);
        }
        catch (LinuxException e) when (e.Errno == EADDRNOTAVAIL)
        {
            // It went with another that it was secondary to.
        }
    }

    private NetlinkBody Body(ReadOnlySpan<byte> head, byte[] address) =>
        new NetlinkBody([.. head, .. BitConverter.GetBytes(index)]).Add(LocalAttribute, address).Add(AddressAttribute, address);
}
