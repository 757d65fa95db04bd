using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Cgroups;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Pods;

/// <summary>Pods on the real kernel.</summary>
public sealed class LinuxPodTests : IAsyncLifetime
{
    private PodBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await PodBed.CreateAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task A_pod_has_namespaces_of_its_own_and_no_process()
    {
        var (pod, spec) = await _bed.StartAsync(PodBed.Config());
        Assert.Equal(0, pod.ProcessId);
        Assert.False(pod.Exited.IsCompleted);
        Assert.Empty(PodBed.Children());
        var inside = (await _bed.InsideAsync(spec, "hostname; readlink /proc/self/ns/ipc /proc/self/ns/uts /proc/self/ns/net", "ipc", "uts", "net")).Split('\n');
        Assert.Equal("my-pod", inside[0]);
        Assert.NotEqual(PodBed.Namespace("self", "ipc"), inside[1]);
        Assert.NotEqual(PodBed.Namespace("self", "uts"), inside[2]);
        Assert.NotEqual(PodBed.Namespace("self", "net"), inside[3]);
        Assert.NotEqual("my-pod", Environment.MachineName);

        await pod.DisposeAsync();
        await pod.DisposeAsync();
        await _bed.NothingLeftAsync(spec);
    }

    [Fact]
    public async Task Memory_is_shared_by_dev_shm()
    {
        var (pod, spec) = await _bed.StartAsync(PodBed.Config());
        var shm = Path.Combine(spec.WorkDirectory, "shm");
        Assert.Equal(Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC, Libc.RestrictionsOf(shm));
        Assert.Equal(["1777", "65536"], (await _bed.InsideAsync(spec, $"stat -c %a {shm}; df -k --output=size {shm} | tail -n 1")).Split(default(char[]), StringSplitOptions.RemoveEmptyEntries));
        await pod.DisposeAsync();
        await _bed.NothingLeftAsync(spec);
    }

    [Fact]
    public async Task Sysctls_are_the_pods_alone()
    {
        var config = PodBed.Config();
        config.Linux.Sysctls.Add("kernel.shm_rmid_forced", "1");
        config.Linux.Sysctls.Add("kernel/msgmax", "9000");
        config.Linux.Sysctls.Add("net.ipv4.ip_unprivileged_port_start", "500");
        config.Linux.Sysctls.Add("net.ipv4.conf.lo.forwarding", "1");
        config.Linux.Sysctls.Add("fs.mqueue.msg_max", "11");
        const string Read = "cd /proc/sys; cat kernel/shm_rmid_forced kernel/msgmax net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/conf/lo/forwarding fs/mqueue/msg_max";
        var before = await _bed.InsideAsync(_bed.Spec(config), Read);

        var (_, spec) = await _bed.StartAsync(config);

        Assert.Equal("1\n9000\n500\n0\t2147483647\n1\n11\n", await _bed.InsideAsync(spec, Read, "ipc", "net"));
        Assert.Equal(before, await _bed.InsideAsync(spec, Read));
    }

    [Fact]
    public async Task A_pod_of_the_host_has_nothing_of_its_own_but_files()
    {
        var (pod, spec) = await _bed.StartAsync(PodBed.Config(NamespaceMode.Node, NamespaceMode.Node, NamespaceMode.Node));
        Assert.Equal(0, pod.ProcessId);
        Assert.Empty(_bed.Mounts());
        Assert.Equal("my-pod\n", File.ReadAllText(Path.Combine(spec.WorkDirectory, "hostname")));
        Assert.NotEqual("my-pod", Environment.MachineName);
        await pod.DisposeAsync();
        await _bed.NothingLeftAsync(spec);
    }

    [Fact]
    public async Task A_shared_process_namespace_has_an_init_that_reaps_and_shows_nothing_of_the_host()
    {
        var (pod, spec) = await _bed.StartAsync(PodBed.Config(NamespaceMode.Pod));
        var pid = PodBed.Number(pod.ProcessId);
        Assert.Equal([pod.ProcessId], PodBed.Children());
        Assert.Equal("pod-init", File.ReadAllText($"/proc/{pid}/comm").Trim());
        foreach (var name in (string[])["ipc", "uts", "net", "pid", "mnt"])
        {
            Assert.NotEqual(PodBed.Namespace("self", name), PodBed.Namespace(pid, name));
        }
        Assert.Empty(Directory.GetFileSystemEntries($"/proc/{pid}/root"));
        Assert.Empty(Directory.GetFileSystemEntries($"/proc/{pid}/fd"));
        var status = File.ReadAllLines($"/proc/{pid}/status");
        foreach (var line in (string[])["Uid:\t65535\t65535\t65535\t65535", "Gid:\t65535\t65535\t65535\t65535", "Groups:\t ", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"])
        {
            Assert.Contains(line, status);
        }
        // The shell that made them ends first: orphans fall to init.
        var left = await _bed.InsideAsync(spec, "exec unshare -m sh -c \"mount -t proc proc /proc; (sh -c 'sleep 0.1' & sh -c 'exit 3' & ) ; sleep 0.5; cat /proc/[0-9]*/stat | cut -d' ' -f 1-3\"", "pid");
        Assert.DoesNotContain(" Z", left, StringComparison.Ordinal);
        Assert.StartsWith("1 (pod-init) S", left, StringComparison.Ordinal);
        Assert.Contains($"/{spec.Namespace}/{spec.Id}", File.ReadAllText($"/proc/{pid}/cgroup"), StringComparison.Ordinal);

        await pod.DisposeAsync();
        Assert.Equal(137u, (await pod.Exited.InTime()).Code);
        await _bed.NothingLeftAsync(spec);
    }

    [Fact]
    public async Task The_end_of_init_is_the_end_of_the_pod()
    {
        var (pod, spec) = await _bed.StartAsync(PodBed.Config(NamespaceMode.Pod));
        var process = _bed.Inner.Processes.Start("/usr/bin/nsenter", [$"--pid={spec.WorkDirectory}/pid", "/bin/sleep", "1000"]);
        await Within.Until(() => File.ReadAllText($"/proc/{process.ProcessId}/task/{process.ProcessId}/children").Length > 0);
        Libc.Kill(pod.ProcessId, Libc.SIGTERM);
        Assert.False(pod.Exited.IsCompleted);
        Libc.Kill(pod.ProcessId, Libc.SIGKILL);
        Assert.Equal(137u, (await pod.Exited.InTime()).Code);
        await process.Exited.InTime();
        await pod.DisposeAsync();
        await _bed.NothingLeftAsync(spec);
    }

    [Fact]
    public async Task A_cgroup_of_its_own_counts_and_limits_and_goes()
    {
        var (pod, spec) = await _bed.StartAsync(PodBed.Config());
        Assert.SkipWhen(PodBed.Cgroups(spec).Count == 0, "no cgroups here");
        var cgroup = Cgroup.At($"/{spec.Namespace}/{spec.Id}", CgroupMount.OfThisHost)!;
        Assert.SkipWhen(cgroup.IsV2, "limits of v2 are tested with files");
        // A container that a runtime did not clear away.
        var memory = cgroup.Folders.First(folder => File.Exists($"{folder}/memory.limit_in_bytes"));
        var process = _bed.Inner.Shell("exec sleep 1000");
        Directory.CreateDirectory($"{memory}/container");
        File.WriteAllText($"{memory}/container/cgroup.procs", PodBed.Number(process.ProcessId));

        pod.Update(new SandboxResources(
            new LinuxContainerResources { MemoryLimitInBytes = 1 << 20, CpuQuota = 10_000, CpuPeriod = 200_000, CpuShares = 2 },
            new LinuxContainerResources { MemoryLimitInBytes = 64 << 20, CpuQuota = 50_000, CpuPeriod = 100_000, CpuShares = 512 }));
        Assert.Equal("68157440", Read("memory.limit_in_bytes"));
        Assert.Equal(("514", "55000", "100000"), (Read("cpu.shares"), Read("cpu.cfs_quota_us"), Read("cpu.cfs_period_us")));
        pod.Update(new SandboxResources(null, new LinuxContainerResources { CpuQuota = -1 }));
        Assert.Equal(("514", "-1", "68157440"), (Read("cpu.shares"), Read("cpu.cfs_quota_us"), Read("memory.limit_in_bytes")));
        var metrics = pod.GetMetrics();
        Assert.Equal("io.containerd.cgroups.v1.Metrics", metrics.TypeUrl);
        Assert.True(TypeUrl.TryUnpack<Protocol.Contracts.CgroupsV1.Metrics>(metrics, out var read) && read.Memory.Usage.Limit == 68157440);

        await pod.DisposeAsync();
        await process.Exited.InTime();
        await _bed.NothingLeftAsync(spec);
        Assert.Equal(SandboxError.FailedPrecondition, Assert.Throws<SandboxException>(() => pod.Update(new SandboxResources(null, new()))).Error);

        string Read(string file) => File.ReadAllText(cgroup.Folders.Select(folder => $"{folder}/{file}").First(File.Exists)).Trim();
    }

    [Fact]
    public async Task The_kubelets_cgroup_is_used_and_stays()
    {
        var cgroup = Cgroup.At("/kuasar-unit/kubelet", CgroupMount.OfThisHost);
        Assert.SkipWhen(cgroup is null, "no cgroups here");
        foreach (var folder in cgroup.Folders)
        {
            Libc.CreateFolders(folder, 0x1ED);
        }
        var config = PodBed.Config(NamespaceMode.Pod);
        config.Linux.CgroupParent = "/kuasar-unit/kubelet";
        var (pod, spec) = await _bed.StartAsync(config);
        Assert.Contains($"/kuasar-unit/kubelet/{spec.Id}", File.ReadAllText($"/proc/{pod.ProcessId}/cgroup"), StringComparison.Ordinal);
        await pod.DisposeAsync();
        Assert.All(cgroup.Folders, folder => Assert.Empty(Directory.GetDirectories(folder)));
        Assert.All(cgroup.Folders, folder => Assert.True(Libc.TryRemoveFolder(folder)));
        await _bed.NothingLeftAsync(spec);
    }

    [Fact]
    public async Task Many_pods_leave_no_thread_mount_process_or_descriptor()
    {
        // What is made once and for good is made before the count.
        await (await _bed.StartAsync(PodBed.Config(NamespaceMode.Pod))).Pod.DisposeAsync();
        var descriptors = Bed.OpenDescriptors;
        for (var i = 0; i < 20; i++)
        {
            var (pod, spec) = await _bed.StartAsync(PodBed.Config(i % 2 == 0 ? NamespaceMode.Pod : NamespaceMode.Container));
            await pod.DisposeAsync();
            await _bed.NothingLeftAsync(spec);
        }
        // The runtime may open some of its own meanwhile, but not one for each pod.
        Assert.InRange(Bed.OpenDescriptors, 0, descriptors + 10);
    }

    /// <summary>Each makes another step fail, from the first to the last.</summary>
    public static TheoryData<string> Faults => ["hostname-file", "cgroup", "uts", "hostname", "ipc", "netns", "netns-gone", "sysctl", "shm", "init-cgroup", "pid"];

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task A_step_that_fails_leaves_nothing(string fault)
    {
        var config = PodBed.Config(NamespaceMode.Pod);
        var spec = _bed.Spec(config);
        switch (fault)
        {
            case "hostname-file" or "uts" or "ipc" or "pid":
                Directory.CreateDirectory(Path.Combine(spec.WorkDirectory, fault == "hostname-file" ? "hostname" : fault));
                break;
            case "shm":
                File.WriteAllText(Path.Combine(spec.WorkDirectory, "shm"), "");
                break;
            case "hostname":
                config.Hostname = new string('h', 100);
                break;
            case "cgroup":
                spec = With("line\nbreak", spec.NetworkNamespace);
                break;
            case "init-cgroup":
                config.Linux.CgroupParent = "/kuasar-unit/line\nbreak";
                break;
            case "netns":
                spec = With(spec.Id, "/etc/hostname");
                break;
            case "netns-gone":
                spec = With(spec.Id, "/run/netns/gone");
                break;
            case "sysctl":
                config.Linux.Sysctls.Add("net.ipv4.no_such_thing", "1");
                break;
        }
        var pod = _bed.New(spec);
        await Assert.ThrowsAnyAsync<Exception>(() => pod.StartAsync(TestContext.Current.CancellationToken).InTime());
        await _bed.NothingLeftAsync(spec);
        await pod.DisposeAsync();

        SandboxSpec With(string id, string? netns) => new()
        {
            Namespace = spec.Namespace, Id = id, Instance = "i", WorkDirectory = spec.WorkDirectory, Pod = config, NetworkNamespace = netns,
        };
    }

    [Fact]
    public async Task What_cannot_be_is_refused_before_anything_is_made()
    {
        var config = PodBed.Config();
        config.Linux.SecurityContext.NamespaceOptions.UsernsOptions = new UserNamespace { Mode = NamespaceMode.Pod };
        Refused(SandboxError.Unimplemented, _bed.Spec(config));
        Refused(SandboxError.InvalidArgument, _bed.Spec(null));
        Refused(SandboxError.InvalidArgument, _bed.Spec(PodBed.Config(ipc: NamespaceMode.Container)));
        Refused(SandboxError.InvalidArgument, new SandboxSpec { Namespace = "n", Id = "i", Instance = "i", WorkDirectory = "/", Pod = PodBed.Config() });
        foreach (var parent in (string[])["/a/../b", "/a/./b"])
        {
            config = PodBed.Config();
            config.Linux.CgroupParent = parent;
            Refused(SandboxError.InvalidArgument, _bed.Spec(config));
        }
        await Task.CompletedTask;

        void Refused(SandboxError error, SandboxSpec spec) => Assert.Equal(error, Assert.Throws<SandboxException>(() => _bed.New(spec)).Error);
    }
}
