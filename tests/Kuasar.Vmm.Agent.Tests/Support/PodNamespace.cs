using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Kuasar.Vmm.Network;

namespace Kuasar.Vmm.Agent.Tests.Support;

/// <summary>A pod's network namespace as a CNI bridge plugin leaves it, and another at the other end of its cable. Skips where that cannot be.</summary>
internal sealed class PodNamespace : IDisposable
{
    private readonly string _pod = "kvt-" + Guid.NewGuid().ToString("N")[..8];
    private readonly string _outside;

    public PodNamespace()
    {
        _outside = _pod + "-o";
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "network namespaces need root");
        Assert.SkipUnless(File.Exists("/dev/net/tun"), "there is no /dev/net/tun");
        Assert.SkipUnless(File.Exists("/usr/sbin/ip") || File.Exists("/sbin/ip"), "iproute2 is not there");
        try
        {
            Ip($"netns add {_pod}");
            Ip($"netns add {_outside}");
            Ip($"-n {_pod} link set lo up");
            Ip($"-n {_pod} link add eth0 address {Mac} mtu 1400 type veth peer name out netns {_outside}");
            Ip($"-n {_pod} addr add 10.77.0.2/24 dev eth0");
            Ip($"-n {_pod} addr add fd77::2/64 dev eth0 nodad");
            Ip($"-n {_pod} link set eth0 up");
            Ip($"-n {_outside} addr add 10.77.0.1/24 dev out");
            Ip($"-n {_outside} link set out up");
            Ip($"-n {_pod} route add default via 10.77.0.1");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public static string Mac => "0a:58:0a:4d:00:02";

    public string Path => "/run/netns/" + _pod;

    /// <summary>A UDP socket of the namespace outside, or of the pod's own.</summary>
    public Task<UdpClient> UdpAsync(bool outside) => NetworkNamespace.RunAsync(
        outside ? "/run/netns/" + _outside : Path, () => new UdpClient(new IPEndPoint(IPAddress.Any, outside ? 0 : 5000)));

    private static string Ip(string arguments) => Run("ip", arguments);

    /// <summary>In the pod's namespace.</summary>
    public string IpInPod(string arguments) => Run("ip", $"-n {_pod} {arguments}");

    public string TcInPod(string arguments) => Run("tc", $"-n {_pod} {arguments}");

    public void Dispose()
    {
        foreach (var name in new[] { _pod, _outside })
        {
            if (File.Exists("/run/netns/" + name))
            {
                Ip($"netns del {name}");
            }
        }
    }

    private static string Run(string program, string arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {arguments}: {error}");
        return output.Result;
    }
}
