using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Pods;

namespace Kuasar.Sandbox.Tests.Pods;

public sealed class PodSysctlsTests
{
    private static readonly PodModes s_own = new(HostNetwork: false, HostIpc: false, NamespaceMode.Container);

    [Theory]
    [InlineData("net.ipv4.tcp_syncookies", "net/ipv4/tcp_syncookies")]
    [InlineData("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding")]
    [InlineData("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding")]
    [InlineData("kernel.sem", "kernel/sem")]
    public void A_name_is_a_path(string name, string path) => Assert.Equal(path, PodSysctls.PathOf(name));

    [Theory]
    [InlineData("")]
    [InlineData("kernel")]
    [InlineData(".net.ipv4")]
    [InlineData("/net/ipv4")]
    [InlineData("net/../kernel/hostname")]
    [InlineData("net.//.kernel.hostname")]
    [InlineData("net/./x")]
    [InlineData("net..x")]
    [InlineData("net//x")]
    [InlineData("net.ipv4.")]
    [InlineData("net.a b")]
    [InlineData("net.a\0b")]
    [InlineData("net.a\nb")]
    [InlineData("net.ä")]
    // Not of a namespace of a pod.
    [InlineData("kernel.hostname")]
    [InlineData("kernel.domainname")]
    [InlineData("kernel.shm_next_id")]
    [InlineData("kernel.core_pattern")]
    [InlineData("vm.swappiness")]
    [InlineData("fs.file-max")]
    [InlineData("network.x")]
    public void One_that_is_none_or_the_hosts_is_refused(string name) => Refused(name, s_own);

    [Theory]
    [InlineData("net.core.somaxconn")]
    [InlineData("kernel.shmmax")]
    [InlineData("fs.mqueue.msg_max")]
    public void One_of_a_namespace_that_is_the_hosts_is_refused(string name)
    {
        _ = new PodSysctls([new(name, "1")], s_own);
        Refused(name, new PodModes(HostNetwork: true, HostIpc: true, NamespaceMode.Container));
    }

    private static void Refused(string name, PodModes modes) =>
        Assert.Equal(SandboxError.InvalidArgument, Assert.Throws<SandboxException>(() => new PodSysctls([new(name, "1")], modes)).Error);
}
