using System.Net;
using System.Net.Sockets;
using Kuasar.Linux;
using Kuasar.Vmm.Agent.Tests.Support;
using Kuasar.Vmm.Contracts.Agent;
using Kuasar.Vmm.Network;

namespace Kuasar.Vmm.Agent.Tests.Network;

public sealed class GuestNetworkTests : IDisposable
{
    private static readonly IPEndPoint s_guest = new(System.Net.IPAddress.Parse("10.77.0.2"), 5000);

    private readonly PodNamespace _pod = new();

    public void Dispose() => _pod.Dispose();

    [Fact]
    public async Task The_pods_interfaces_and_routes_are_read()
    {
        using var network = await GuestNetwork.ReadAsync(_pod.Path);
        var eth0 = Assert.Single(network.Interfaces);
        Assert.Equal(("eth0", "eth0", 1400ul, PodNamespace.Mac, "veth"), (eth0.Name, eth0.Device, eth0.Mtu, eth0.HwAddr, eth0.Type));
        Assert.Equal(1u, eth0.RawFlags & 1);
        Assert.Equal(
            ["V4 10.77.0.2/24", "V6 fd77::2/64"], eth0.IPAddresses.Select(static address => $"{address.Family} {address.Address}/{address.Mask}").Order());
        Assert.Empty(network.Taps);
        var connected = network.Routes.First(static route => route.Dest == "10.77.0.0/24");
        Assert.Equal(("eth0", "10.77.0.2", 253u, ""), (connected.Device, connected.Source, connected.Scope, connected.Gateway));
        Assert.Contains(network.Routes, static route => route is { Dest: "fd77::/64", Family: IPFamily.V6 });
        var last = network.Routes[^1];
        Assert.Equal(("", "10.77.0.1", "eth0", 0u), (last.Dest, last.Gateway, last.Device, last.Scope));
        Assert.DoesNotContain(network.Routes, static route => route.Dest.StartsWith("127.", StringComparison.Ordinal) || route.Dest.Contains("255", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_is_sent_to_the_pod_comes_out_of_the_tap_and_back()
    {
        using var network = await GuestNetwork.AttachAsync(_pod.Path);
        var tap = Assert.Single(network.Taps);
        Assert.Equal(("eth0", PodNamespace.Mac, 1400), (tap.InterfaceName, tap.MacAddress, tap.Mtu));
        Assert.Equal(network.Interfaces[0].HwAddr, tap.MacAddress);
        var guest = new TapPeer(tap.Handle!, Convert.FromHexString(tap.MacAddress.Replace(":", "", StringComparison.Ordinal)));
        await EchoAsync(guest);
        // Nobody in the namespace answered in the guest's place.
        Assert.True(guest.Arps > 0);
    }

    [Fact]
    public async Task Detaching_gives_the_interface_back_to_the_namespace()
    {
        using (var network = await GuestNetwork.AttachAsync(_pod.Path))
        {
            Assert.Contains("mirred", _pod.TcInPod("filter show dev eth0 ingress"), StringComparison.Ordinal);
            await GuestNetwork.DetachAsync(_pod.Path);
            await GuestNetwork.DetachAsync(_pod.Path);
        }
        AssertNothingLeft();
        using var inside = await _pod.UdpAsync(outside: false);
        using var outside = await _pod.UdpAsync(outside: true);
        await outside.SendAsync("direct"u8.ToArray(), s_guest);
        var received = await inside.ReceiveAsync().WaitAsync(Wait.Limit);
        Assert.Equal("direct"u8, received.Buffer);
    }

    [Fact]
    public async Task The_tap_goes_with_its_last_handle_and_attaching_anew_replaces_what_is_left()
    {
        (await GuestNetwork.AttachAsync(_pod.Path)).Dispose();
        Assert.DoesNotContain("tap_kua_", _pod.IpInPod("-o link"), StringComparison.Ordinal);
        using (await GuestNetwork.AttachAsync(_pod.Path))
        {
            using var again = await GuestNetwork.AttachAsync(_pod.Path);
            await EchoAsync(new TapPeer(again.Taps[0].Handle!, Convert.FromHexString(PodNamespace.Mac.Replace(":", "", StringComparison.Ordinal))));
        }
    }

    [Fact]
    public async Task A_persistent_tap_is_there_to_be_opened_by_name_until_it_is_detached()
    {
        using var network = await GuestNetwork.AttachAsync(_pod.Path, persistent: true);
        var tap = Assert.Single(network.Taps);
        Assert.Null(tap.Handle);
        using (var handle = await NetworkNamespace.RunAsync(_pod.Path, () => Libc.CreateTap(tap.Name)))
        {
            await EchoAsync(new TapPeer(handle, Convert.FromHexString(PodNamespace.Mac.Replace(":", "", StringComparison.Ordinal))));
        }
        Assert.Contains(tap.Name, _pod.IpInPod("-o link"), StringComparison.Ordinal);
        await GuestNetwork.DetachAsync(_pod.Path);
        AssertNothingLeft();
    }

    [Fact]
    public async Task Somebody_elses_ingress_is_left_alone()
    {
        _pod.TcInPod("qdisc add dev eth0 ingress");
        var error = await Assert.ThrowsAnyAsync<IOException>(() => GuestNetwork.AttachAsync(_pod.Path));
        Assert.Contains("eth0", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("tap_kua_", _pod.IpInPod("-o link"), StringComparison.Ordinal);
        await GuestNetwork.DetachAsync(_pod.Path);
        Assert.Contains("ingress", _pod.TcInPod("qdisc show dev eth0"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_interface_that_is_no_Ethernet_is_named()
    {
        _pod.IpInPod("tuntap add tun7 mode tun");
        _pod.IpInPod("link set tun7 up");
        var error = await Assert.ThrowsAnyAsync<IOException>(() => GuestNetwork.AttachAsync(_pod.Path));
        Assert.Contains("tun7", error.Message, StringComparison.Ordinal);
        AssertNothingLeft();
    }

    [Fact]
    public async Task Two_interfaces_have_a_tap_each_and_links_that_are_down_none()
    {
        _pod.IpInPod("link add eth1 type veth peer name eth1p");
        _pod.IpInPod("link set eth1 up");
        using var network = await GuestNetwork.AttachAsync(_pod.Path);
        Assert.Equal(["eth0", "eth1"], network.Interfaces.Select(static link => link.Name).Order());
        Assert.Equal(network.Interfaces.Select(static link => link.Name), network.Taps.Select(static tap => tap.InterfaceName));
    }

    [Fact]
    public async Task A_namespace_that_is_none_is_an_error_and_one_that_is_gone_needs_no_detaching()
    {
        await Assert.ThrowsAnyAsync<IOException>(() => GuestNetwork.ReadAsync("/run/netns/none-of-mine"));
        await Assert.ThrowsAnyAsync<IOException>(() => GuestNetwork.ReadAsync("/etc/hostname"));
        await GuestNetwork.DetachAsync("/run/netns/none-of-mine");
    }

    private async Task EchoAsync(TapPeer guest)
    {
        using var outside = await _pod.UdpAsync(outside: true);
        var sent = new byte[1300];
        Random.Shared.NextBytes(sent);
        var serving = Task.Run(() => guest.Serve(Wait.Limit));
        await outside.SendAsync(sent, s_guest);
        Assert.Equal(sent, await serving.Within());
        Assert.Equal(sent, (await outside.ReceiveAsync().WaitAsync(Wait.Limit)).Buffer);
    }

    private void AssertNothingLeft()
    {
        Assert.DoesNotContain("tap_kua_", _pod.IpInPod("-o link"), StringComparison.Ordinal);
        Assert.DoesNotContain("ingress", _pod.TcInPod("qdisc show dev eth0"), StringComparison.Ordinal);
    }
}
