using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Pods;

namespace Kuasar.Sandbox.Tests.Pods;

public sealed class PodFilesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar-pod-files-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Resolv_conf_is_as_containerd_writes_it()
    {
        Assert.Equal(
            "search a.example b.example\nnameserver 10.0.0.1\nnameserver 10.0.0.2\noptions ndots:5 edns0\n",
            PodFiles.ResolvConf(new DNSConfig { Servers = { "10.0.0.1", "10.0.0.2" }, Searches = { "a.example", "b.example" }, Options = { "ndots:5", "edns0" } }));
        Assert.Equal("", PodFiles.ResolvConf(null));
        Assert.Equal("", PodFiles.ResolvConf(new DNSConfig()));
    }

    [Fact]
    public void What_the_pod_does_not_say_is_a_copy_of_the_hosts()
    {
        var etc = Directory.CreateDirectory(Path.Combine(_folder, "etc")).FullName;
        File.WriteAllText(Path.Combine(etc, "hosts"), "127.0.0.1 here\n");
        File.WriteAllText(Path.Combine(etc, "resolv.conf"), "nameserver 9.9.9.9\n");
        PodFiles.Write(_folder, new PodSandboxConfig(), "name", etc);
        Assert.Equal(["name\n", "127.0.0.1 here\n", "nameserver 9.9.9.9\n"], PodFiles.Names.Select(name => File.ReadAllText(Path.Combine(_folder, name))));
        Assert.All(PodFiles.Names, name => Assert.Equal(0x1A4, (int)File.GetUnixFileMode(Path.Combine(_folder, name))));
        // A host without them is a pod without them.
        PodFiles.Write(_folder, new PodSandboxConfig(), "name", _folder + "/none");
        Assert.Equal(["name\n", "", ""], PodFiles.Names.Select(name => File.ReadAllText(Path.Combine(_folder, name))));
    }
}
