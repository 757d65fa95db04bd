using System.Globalization;
using Kuasar.Sandbox;
using Kuasar.Vmm.Contracts.Agent;
using IPAddress = System.Net.IPAddress;

namespace GuestAgent.Network;

/// <summary>Addresses as the host writes them.</summary>
internal static class Address
{
    private const byte InterNetwork = 2, InterNetworkV6 = 10;

    /// <exception cref="SandboxException">InvalidArgument.</exception>
    internal static IPAddress Parse(string text) =>
        IPAddress.TryParse(text, out var address) ? address : throw new SandboxException(SandboxError.InvalidArgument, $"no address: \"{text}\"");

    /// <summary>With a prefix's length, or without: then of one host.</summary>
    /// <exception cref="SandboxException">InvalidArgument.</exception>
    internal static (IPAddress Address, int Prefix) ParsePrefix(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var address = Parse(slash < 0 ? text : text[..slash]);
        return (address, slash < 0 ? 8 * address.GetAddressBytes().Length : PrefixOf(text[(slash + 1)..], address));
    }

    /// <exception cref="SandboxException">InvalidArgument.</exception>
    internal static int PrefixOf(string mask, IPAddress address) =>
        int.TryParse(mask, NumberStyles.None, CultureInfo.InvariantCulture, out var prefix) && prefix <= 8 * address.GetAddressBytes().Length
            ? prefix
            : throw new SandboxException(SandboxError.InvalidArgument, $"no prefix length: \"{mask}\"");

    /// <summary>The kernel's number.</summary>
    internal static byte FamilyOf(IPAddress? address, IPFamily otherwise) =>
        (address is not null ? address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 : otherwise == IPFamily.V6) ? InterNetworkV6 : InterNetwork;
}
