using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Cgroups;
using Kuasar.Sandbox.Pods;

namespace Kuasar.Sandbox.Tests.Pods;

/// <summary>Limits of cgroup v2, in a folder that plays it; those of v1 are tested on the real one.</summary>
public sealed class PodCgroupLimitsTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("kuasar-pod-cgroup-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Limits_of_pod_and_overhead_are_set_together()
    {
        var folder = Directory.CreateDirectory(Path.Combine(_root, "sys/fs/cgroup/kubepods/pod1")).FullName;
        foreach (var file in (string[])["cpu.weight", "cpu.max", "memory.max"])
        {
            File.WriteAllText(Path.Combine(folder, file), "");
        }
        var pod = new PodSandboxConfig { Linux = new LinuxPodSandboxConfig { CgroupParent = "/kubepods/pod1" } };
        var cgroup = PodCgroup.Of(
            new SandboxSpec { Namespace = "k8s.io", Id = "pod1", Instance = "i", WorkDirectory = "/pod", Pod = pod }, withInit: false,
            CgroupMount.Parse("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), _root);
        Assert.Equal([folder], cgroup.Folders);
        Assert.Empty(cgroup.Made);

        cgroup.Update(new SandboxResources(
            new LinuxContainerResources { CpuQuota = 10_000, CpuPeriod = 50_000, MemoryLimitInBytes = 100 },
            new LinuxContainerResources { CpuQuota = 50_000, CpuShares = 262_144, MemoryLimitInBytes = 1000 }));
        Assert.Equal(("10000", "70000 100000", "1100"), (Read("cpu.weight"), Read("cpu.max"), Read("memory.max")));
        Directory.GetFiles(folder).ToList().ForEach(file => File.WriteAllText(file, ""));
        cgroup.Update(new SandboxResources(null, new LinuxContainerResources { CpuQuota = -1, MemoryLimitInBytes = -1, CpuShares = 2 }));
        Assert.Equal(("1", "max 100000", "max"), (Read("cpu.weight"), Read("cpu.max"), Read("memory.max")));
        Directory.GetFiles(folder).ToList().ForEach(file => File.WriteAllText(file, ""));
        cgroup.Update(new SandboxResources(null, null));
        Assert.Equal(("", "", ""), (Read("cpu.weight"), Read("cpu.max"), Read("memory.max")));

        string Read(string file) => File.ReadAllText(Path.Combine(folder, file));
    }
}
