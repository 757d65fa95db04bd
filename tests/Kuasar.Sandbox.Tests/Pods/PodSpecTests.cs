using System.Text.Json.Nodes;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Pods;

namespace Kuasar.Sandbox.Tests.Pods;

/// <summary>
/// Specs as the CRI of containerd 2.1.9 wrote them for a sandbox of the proxy route that told pid 0, and 4242 for shared processes. The
/// target container of another had pid 5151.
/// </summary>
public sealed class PodSpecTests
{
    private const string Etc = "/etc/hostname=/pod/hostname:rw /etc/hosts=/pod/hosts:rw /etc/resolv.conf=/pod/resolv.conf:rw",
        OwnShm = "/dev/shm=/pod/shm:rw", HostShm = "/dev/shm=/dev/shm:rw";

    private static readonly NamespaceOption s_default = new() { Pid = NamespaceMode.Container };

    private readonly List<int> _targets = [];

    public static TheoryData<string, NamespaceOption, string, string> Specs => new()
    {
        { "kubelet-default", s_default, "pid ipc=/pod/ipc uts=/pod/uts mount network=/run/netns/x", $"{OwnShm} {Etc}" },
        { "target-pid", s_default, "pid=/proc/5151/ns/pid ipc=/pod/ipc uts=/pod/uts mount network=/run/netns/x", $"{OwnShm} {Etc}" },
        { "shared-processes", new() { Pid = NamespaceMode.Pod }, "pid=/pod/pid ipc=/pod/ipc uts=/pod/uts mount network=/run/netns/x", $"{OwnShm} {Etc}" },
        { "host-network", new() { Pid = NamespaceMode.Container, Network = NamespaceMode.Node }, "pid ipc=/pod/ipc mount", $"{OwnShm} {Etc}" },
        { "host-pid", new() { Pid = NamespaceMode.Node }, "ipc=/pod/ipc uts=/pod/uts mount network=/run/netns/x", $"{OwnShm} {Etc}" },
        { "host-ipc", new() { Pid = NamespaceMode.Container, Ipc = NamespaceMode.Node }, "pid uts=/pod/uts mount network=/run/netns/x", $"{HostShm} {Etc}" },
        { "host-all", new() { Pid = NamespaceMode.Node, Ipc = NamespaceMode.Node, Network = NamespaceMode.Node }, "mount", $"{HostShm} {Etc}" },
        {
            // Volumes at /etc and at /etc/hosts: the first must not hide the pod's files, the second is the container's own.
            "readonly-with-hosts", s_default, "pid ipc=/pod/ipc uts=/pod/uts mount network=/run/netns/x",
            $"{OwnShm} /etc=/volumes/etc:rw /etc/hosts=/volumes/hosts:rw /etc/hostname=/pod/hostname:ro /etc/resolv.conf=/pod/resolv.conf:ro"
        },
    };

    [Theory]
    [MemberData(nameof(Specs))]
    public void A_containers_spec_gets_what_is_the_pods(string name, NamespaceOption options, string namespaces, string binds)
    {
        var before = Load(name);
        var spec = Load(name);
        Pod(options).Apply(spec, "c1");

        Assert.Equal(namespaces, string.Join(' ', Namespaces(spec)));
        // Of those that lie in the same folder the order is of no account.
        Assert.Equal(binds.Split(' ').Order(StringComparer.Ordinal), Binds(spec).Order(StringComparer.Ordinal));
        AssertParentsComeFirst(spec);
        // Nothing else is touched.
        foreach (var json in (JsonObject[])[before, spec])
        {
            json["linux"]!.AsObject().Remove("namespaces");
            json["mounts"] = new JsonArray([.. json["mounts"]!.AsArray().Where(m => !IsOfPod(m!)).Select(m => m!.DeepClone())]);
        }
        Assert.True(JsonNode.DeepEquals(before, spec), spec.ToJsonString());
        Assert.Equal(name == "target-pid" ? [5151] : [], _targets);

        static bool IsOfPod(JsonNode mount) => (string?)mount["destination"] is "/dev/shm" or "/etc/hostname" or "/etc/hosts" or "/etc/resolv.conf";
    }

    [Fact]
    public void A_pod_without_the_kubelets_cgroup_has_its_containers_in_its_own()
    {
        var spec = Load("nothing-said");
        Pod(new NamespaceOption { Pid = NamespaceMode.Node }, parent: "").Apply(spec, "c1");
        Assert.Equal("/k8s.io/pod1/c1", (string?)spec["linux"]!["cgroupsPath"]);
        Assert.Equal("ipc=/pod/ipc uts=/pod/uts mount network=/run/netns/x", string.Join(' ', Namespaces(spec)));
    }

    [Theory]
    [InlineData("kubepods-burstable-pod1.slice", "kubepods-burstable-pod1.slice:cri-containerd:c1", "kubepods-burstable-pod1.slice:cri-containerd:c1")]
    [InlineData("/kubepods/pod1/", "/kubepods/pod1/c1", "/kubepods/pod1/c1")]
    [InlineData("/kubepods/pod1", "/kubepods/pod11/c1", "/kubepods/pod1/c1")]
    [InlineData("", null, "/k8s.io/pod1/c1")]
    // Relative to whatever the OCI runtime is in: not ours to find.
    [InlineData("pods/pod1", "pods/pod1/c1", "pods/pod1/c1")]
    public void A_container_is_below_its_pods_cgroup(string parent, string? path, string expected)
    {
        var spec = Load("kubelet-default");
        spec["linux"]!["cgroupsPath"] = path;
        Pod(s_default, parent: parent).Apply(spec, "c1");
        Assert.Equal(expected, (string?)spec["linux"]!["cgroupsPath"]);
    }

    [Fact]
    public void A_slice_is_looked_for_where_systemd_has_it() =>
        Assert.Equal("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice", Cgroup("kubepods-burstable-pod1.slice").Path);

    [Theory]
    // No pod has these: of the pid namespace that a pod does not share, of a process that is not told, of no namespace at all.
    [InlineData("pid", "/proc/0/ns/pid")]
    [InlineData("network", "/proc/1/ns/net")]
    [InlineData("network", "/proc/self/ns/net")]
    [InlineData("network", "/proc/0/ns/network")]
    [InlineData("ipc", "/proc/1/ns/ipc")]
    [InlineData("uts", "/proc/00/ns/uts")]
    [InlineData("user", "/proc/0/ns/user")]
    [InlineData("cgroup", "/proc/0/ns/cgroup")]
    [InlineData("mount", "/proc/0/ns/mnt")]
    [InlineData("pid", "/proc/1/root/ns/pid")]
    [InlineData("pid", "/proc/self/ns/pid")]
    [InlineData("pid", "/proc/+5/ns/pid")]
    public void A_path_that_means_nothing_fails_and_never_is_the_hosts(string type, string path)
    {
        var spec = Load("kubelet-default");
        var namespaces = spec["linux"]!["namespaces"]!.AsArray();
        namespaces.RemoveAll(n => (string?)n!["type"] == type);
        namespaces.Add((JsonNode)new JsonObject { ["type"] = type, ["path"] = path });
        var error = Assert.Throws<SandboxException>(() => Pod(s_default).Apply(spec, "c1"));
        Assert.Equal(SandboxError.FailedPrecondition, error.Error);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Namespaces_of_its_own_and_others_that_exist_are_left_alone()
    {
        var spec = Load("kubelet-default");
        spec["hostname"] = "other";
        spec["linux"]!["namespaces"] = new JsonArray(
            new JsonObject { ["type"] = "network" }, new JsonObject { ["type"] = "ipc", ["path"] = "/run/ipc" }, new JsonObject { ["type"] = "cgroup" });
        Pod(s_default).Apply(spec, "c1");
        Assert.Equal("network ipc=/run/ipc cgroup", string.Join(' ', Namespaces(spec)));
        Assert.Null(spec["hostname"]);
    }

    [Fact]
    public void A_volume_at_dev_shm_is_the_containers_own()
    {
        var spec = Load("kubelet-default");
        var mounts = spec["mounts"]!.AsArray();
        mounts.RemoveAll(m => (string?)m!["destination"] == "/dev/shm");
        mounts.Add((JsonNode)new JsonObject { ["destination"] = "/dev/shm/", ["type"] = "tmpfs", ["source"] = "tmpfs" });
        Pod(s_default).Apply(spec, "c1");
        Assert.Single(mounts, m => ((string?)m!["destination"])!.StartsWith("/dev/shm", StringComparison.Ordinal));
        mounts.RemoveAll(m => ((string?)m!["destination"])!.StartsWith("/dev/shm", StringComparison.Ordinal));
        Pod(s_default).Apply(spec, "c1");
        Assert.Contains(OwnShm, Binds(spec));
    }

    [Fact]
    public void What_containerd_1_7_mounts_of_a_pause_container_that_is_not_is_replaced()
    {
        var spec = Load("kubelet-default");
        var mounts = spec["mounts"]!.AsArray();
        mounts.RemoveAll(m => (string?)m!["destination"] == "/dev/shm");
        foreach (var (destination, name) in ((string, string)[])[("/etc/hosts", "hosts"), ("/etc/resolv.conf", "resolv.conf"), ("/dev/shm", "shm")])
        {
            mounts.Add((JsonNode)new JsonObject
            {
                ["destination"] = destination,
                ["type"] = "bind",
                ["source"] = $"/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/pod/{name}",
                ["options"] = new JsonArray("rbind", "rprivate", "rw"),
            });
        }
        Pod(s_default).Apply(spec, "c1");
        Assert.Equal($"{OwnShm} {Etc}".Split(' ').Order(StringComparer.Ordinal), Binds(spec).Order(StringComparer.Ordinal));
    }

    private static JsonObject Load(string name) =>
        JsonNode.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Pods/Fixtures", name + ".json")))!.AsObject();

    private PodSpec Pod(NamespaceOption options, string parent = "/kubepods/burstable/pod1") => new()
    {
        Modes = PodModes.Of(new PodSandboxConfig { Linux = new() { SecurityContext = new() { NamespaceOptions = options } } }),
        ProcessId = options.Pid == NamespaceMode.Pod ? 4242 : 0,
        Folder = "/pod",
        NetworkNamespace = "/run/netns/x",
        Cgroup = Cgroup(parent),
        CheckTarget = _targets.Add,
    };

    private static PodCgroup Cgroup(string parent)
    {
        var pod = new PodSandboxConfig { Linux = new LinuxPodSandboxConfig { CgroupParent = parent } };
        return PodCgroup.Of(new SandboxSpec { Namespace = "k8s.io", Id = "pod1", Instance = "i", WorkDirectory = "/pod", Pod = pod }, withInit: false, mounts: []);
    }

    private static IEnumerable<string> Namespaces(JsonObject spec) =>
        spec["linux"]!["namespaces"]!.AsArray().Select(n => (string?)n!["path"] is { } path ? $"{n["type"]}={path}" : $"{n["type"]}");

    private static IEnumerable<string> Binds(JsonObject spec) =>
        spec["mounts"]!.AsArray().Where(m => (string?)m!["type"] == "bind").Select(m =>
            $"{m!["destination"]}={m["source"]}:{string.Join(',', m["options"]!.AsArray().Select(o => (string?)o).Except(["rbind", "rprivate"]))}");

    private static void AssertParentsComeFirst(JsonObject spec)
    {
        var seen = spec["mounts"]!.AsArray().Select(m => (string)m!["destination"]!).ToList();
        for (var i = 0; i < seen.Count; i++)
        {
            Assert.DoesNotContain(seen[i..], later => seen[i].StartsWith(later + "/", StringComparison.Ordinal));
        }
        Assert.Equal(seen.Count, seen.Distinct().Count());
    }
}
