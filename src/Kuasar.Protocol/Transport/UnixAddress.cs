using System.Net.Sockets;

namespace Kuasar.Protocol.Transport;

/// <summary>The spellings of a unix socket address in containerd's world.</summary>
internal static class UnixAddress
{
    private const string Scheme = "unix://";

    /// <summary>
    /// <c>unix:///path</c> and <c>/path</c> are files, <c>unix://@name</c> and (as containerd has it) text with neither scheme
    /// nor slash are abstract names.
    /// </summary>
    /// <exception cref="ArgumentException">Another scheme, no name, a zero byte in it, or longer than the kernel's 107 bytes.</exception>
    internal static UnixDomainSocketEndPoint Parse(string address)
    {
        ArgumentException.ThrowIfNullOrEmpty(address);
        var hasScheme = address.StartsWith(Scheme, StringComparison.Ordinal);
        if (!hasScheme && address.Contains("://", StringComparison.Ordinal))
        {
            throw new ArgumentException(
                $"'{address}' is no unix socket address. Connections of other kinds are made by the caller: Connection.FromSocket, FromStream.",
                nameof(address));
        }
        var name = hasScheme ? address[Scheme.Length..] : address;
        var isAbstract = name.StartsWith('@') || (!hasScheme && !name.StartsWith('/'));
        // A zero byte ends a path in the kernel, and at the front it would make the name an abstract one.
        if (name.TrimStart('@').Length == 0 || name.Contains('\0'))
        {
            throw new ArgumentException($"'{address}' names no socket.", nameof(address));
        }
        return new UnixDomainSocketEndPoint(isAbstract ? '\0' + (name.StartsWith('@') ? name[1..] : name) : name);
    }

    /// <summary>The address as <see cref="Connection.LocalAddress"/> shows it: a path, or <c>@name</c>.</summary>
    internal static string Show(string address)
    {
        var name = address.StartsWith(Scheme, StringComparison.Ordinal) ? address[Scheme.Length..] : address;
        return name.StartsWith('/') || name.StartsWith('@') || name.Length < address.Length ? name : "@" + name;
    }
}
