using System.Text;
using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.Sandbox.Pods;

/// <summary>The three files below /etc that the containers of a pod share, as containerd writes them for a pause container.</summary>
internal static class PodFiles
{
    internal const string HostName = "hostname", Hosts = "hosts", Resolv = "resolv.conf";

    internal static IReadOnlyList<string> Names { get; } = [HostName, Hosts, Resolv];

    internal static void Write(string folder, PodSandboxConfig pod, string hostName, string hostEtc = "/etc")
    {
        Write(HostName, Encoding.UTF8.GetBytes(hostName + "\n"));
        Write(Hosts, OfHost(Hosts));
        var resolv = ResolvConf(pod.DnsConfig);
        Write(Resolv, resolv.Length > 0 ? Encoding.UTF8.GetBytes(resolv) : OfHost(Resolv));

        void Write(string name, byte[] content)
        {
            var path = Path.Combine(folder, name);
            File.WriteAllBytes(path, content);
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        }

        byte[] OfHost(string name)
        {
            var path = Path.Combine(hostEtc, name);
            return File.Exists(path) ? File.ReadAllBytes(path) : [];
        }
    }

    /// <summary>Empty when there is nothing to say; then a pod has a copy of the host's.</summary>
    internal static string ResolvConf(DNSConfig? dns)
    {
        var text = new StringBuilder();
        if (dns?.Searches.Count > 0)
        {
            text.Append("search ").AppendJoin(' ', dns.Searches).Append('\n');
        }
        foreach (var server in dns?.Servers ?? [])
        {
            text.Append("nameserver ").Append(server).Append('\n');
        }
        if (dns?.Options.Count > 0)
        {
            text.Append("options ").AppendJoin(' ', dns.Options).Append('\n');
        }
        return text.ToString();
    }
}
