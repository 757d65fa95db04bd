using Kuasar.Protocol;
using Kuasar.Sandbox.Cgroups;
using V1 = Kuasar.Protocol.Contracts.CgroupsV1;
using V2 = Kuasar.Protocol.Contracts.CgroupsV2;

namespace Kuasar.Sandbox.Tests.Cgroups;

public sealed class CgroupStatsTests
{
    private const ulong NoLimit = 9223372036854771712;

    [Fact]
    public void V1_metrics_are_read_from_every_controller()
    {
        var cgroup = Fixture.Open("v1");
        Assert.False(cgroup.IsV2);
        Assert.Equal(7, cgroup.Folders.Count);

        var any = cgroup.GetMetrics();
        Assert.Equal("io.containerd.cgroups.v1.Metrics", any.TypeUrl);
        Assert.True(TypeUrl.TryUnpack<V1.Metrics>(any, out var metrics));

        Assert.Equal(new V1.PidsStat { Current = 7, Limit = 0 }, metrics.Pids);
        Assert.Equal(new V1.CPUUsage { Total = 172473838589, User = 134330000000, Kernel = 38130000000, PerCpu = { 72550187188, 99923651401 } }, metrics.Cpu.Usage);
        Assert.Equal(new V1.Throttle { Periods = 1834, ThrottledPeriods = 21, ThrottledTime = 1850336221 }, metrics.Cpu.Throttling);
        Assert.Equal(
            new V1.MemoryStat
            {
                Cache = 1990656, Rss = 1384448, RssHuge = 2097152, MappedFile = 405504, Dirty = 53248, Writeback = 4096,
                PgPgIn = 347373, PgPgOut = 346597, PgFault = 363665, PgMajFault = 278,
                InactiveAnon = 1376256, ActiveAnon = 8192, InactiveFile = 724992, ActiveFile = 1265664, Unevictable = 12288,
                HierarchicalMemoryLimit = 268435456, HierarchicalSwapLimit = NoLimit,
                TotalCache = 2 * 1990656, TotalRss = 2 * 1384448, TotalRssHuge = 2 * 2097152, TotalMappedFile = 2 * 405504,
                TotalDirty = 2 * 53248, TotalWriteback = 2 * 4096, TotalPgPgIn = 2 * 347373, TotalPgPgOut = 2 * 346597,
                TotalPgFault = 2 * 363665, TotalPgMajFault = 2 * 278, TotalInactiveAnon = 2 * 1376256, TotalActiveAnon = 2 * 8192,
                TotalInactiveFile = 2 * 724992, TotalActiveFile = 2 * 1265664, TotalUnevictable = 2 * 12288,
                Usage = new V1.MemoryEntry { Usage = 4718592, Max = 7340032, Limit = 268435456, Failcnt = 17 },
                Swap = new V1.MemoryEntry { Usage = 4718592, Max = 7340032, Limit = NoLimit },
                Kernel = new V1.MemoryEntry { Usage = 1175552, Max = 2314240, Limit = NoLimit },
                KernelTcp = new V1.MemoryEntry { Usage = 8192, Max = 16384, Limit = NoLimit, Failcnt = 3 },
            },
            metrics.Memory);
        Assert.Equal(new V1.MemoryOomControl { UnderOom = 1, OomKill = 2 }, metrics.MemoryOomControl);
        Assert.Equal(
            [
                new V1.HugetlbStat { Pagesize = "1GB" },
                new V1.HugetlbStat { Pagesize = "2MB", Usage = 4194304, Max = 8388608, Failcnt = 1 },
            ],
            metrics.Hugetlb);
        Assert.Equal(
            [
                new V1.RdmaEntry { Device = "mlx4_0", HcaHandles = 3, HcaObjects = uint.MaxValue },
                new V1.RdmaEntry { Device = "ocrdma1", HcaHandles = uint.MaxValue, HcaObjects = uint.MaxValue },
            ],
            metrics.Rdma.Limit);
        Assert.Equal(2000u, metrics.Rdma.Current[0].HcaObjects);
    }

    [Fact]
    public void V1_block_io_falls_back_to_the_files_that_this_kernel_has()
    {
        var blkio = ((CgroupV1)Fixture.Open("v1")).ReadMetrics().Blkio;

        Assert.Equal(["Read", "Write", "Sync", "Async", "Discard", "Total", "Read", "Total"], blkio.IoServiceBytesRecursive.Select(e => e.Op));
        Assert.Equal(new V1.BlkIOEntry { Op = "Read", Device = "/dev/sda", Major = 8, Value = 5918720 }, blkio.IoServiceBytesRecursive[0]);
        Assert.Equal("/dev/dm-0", blkio.IoServiceBytesRecursive[^1].Device);
        Assert.Equal(3, blkio.IoServicedRecursive.Count);
        Assert.Equal(
            [new V1.BlkIOEntry { Device = "/dev/sda", Major = 8, Value = 913 }, new V1.BlkIOEntry { Major = 7, Minor = 9, Value = 1 }],
            blkio.IoTimeRecursive);
        Assert.Empty(blkio.IoQueuedRecursive);
    }

    [Fact]
    public void V2_metrics_are_read_from_the_one_folder()
    {
        var cgroup = Fixture.Open("v2");
        Assert.True(cgroup.IsV2);
        Assert.EndsWith("/cri-containerd-3f9a.scope", Assert.Single(cgroup.Folders), StringComparison.Ordinal);

        var any = cgroup.GetMetrics();
        Assert.Equal("io.containerd.cgroups.v2.Metrics", any.TypeUrl);
        Assert.True(TypeUrl.TryUnpack<V2.Metrics>(any, out var metrics));

        Assert.Equal(new V2.PidsStat { Current = 7, Limit = ulong.MaxValue }, metrics.Pids);
        Assert.Equal(
            new V2.CPUStat
            {
                UsageUsec = 172473838, UserUsec = 134330000, SystemUsec = 38143838, NrPeriods = 1834, NrThrottled = 21,
                ThrottledUsec = 1850336, NrBursts = 2, BurstUsec = 77, Psi = Pressure(1.53, 8871234, 7123),
            },
            metrics.Cpu);
        Assert.Equal(
            new V2.MemoryStat
            {
                Anon = 1384448, File = 1990656, KernelStack = 49152, Slab = 1089536, Sock = 4096, Shmem = 8192, FileMapped = 405504,
                FileDirty = 53248, FileWriteback = 12288, AnonThp = 2097152, InactiveAnon = 1376256, ActiveAnon = 8193,
                InactiveFile = 724992, ActiveFile = 1265664, Unevictable = 20480, SlabReclaimable = 700416, SlabUnreclaimable = 389120,
                Pgfault = 363665, Pgmajfault = 278, WorkingsetRefault = 61695, WorkingsetActivate = 9001, WorkingsetNodereclaim = 3,
                Pgrefill = 4411, Pgscan = 91234, Pgsteal = 90001, Pgactivate = 5511, Pgdeactivate = 3311, Pglazyfree = 21,
                Pglazyfreed = 11, ThpFaultAlloc = 12, ThpCollapseAlloc = 4, Usage = 4718592, UsageLimit = 268435456,
                MaxUsage = 7340032, SwapUsage = 65536, SwapLimit = ulong.MaxValue, SwapMaxUsage = 131072, Psi = Pressure(2.5, 991, 402),
            },
            metrics.Memory);
        Assert.Equal(new V2.MemoryEvents { Low = 1, High = 22, Max = 33, Oom = 4, OomKill = 3, OomGroupKill = 1 }, metrics.MemoryEvents);
        Assert.Equal(
            [
                new V2.IOEntry { Major = 8, Rbytes = 5918720, Wbytes = 28672, Rios = 211, Wios = 3 },
                new V2.IOEntry { Major = 253, Rbytes = 5918720, Rios = 211 },
            ],
            metrics.Io.Usage);
        Assert.Equal(Pressure(0.07, 1234567, 1200001), metrics.Io.Psi);
        Assert.Equal([new V2.HugeTlbStat { Pagesize = "2MB", Current = 4194304, Max = ulong.MaxValue, Failcnt = 6 }], metrics.Hugetlb);
        Assert.Equal(new V2.RdmaEntry { Device = "mlx4_0", HcaHandles = 3, HcaObjects = uint.MaxValue }, Assert.Single(metrics.Rdma.Limit));
        Assert.Equal(new V2.RdmaEntry { Device = "mlx4_0", HcaHandles = 2, HcaObjects = 2000 }, Assert.Single(metrics.Rdma.Current));
    }

    [Theory]
    [InlineData("v1")]
    [InlineData("v2")]
    public void A_cgroup_that_is_gone_gives_an_empty_message(string version)
    {
        var cgroup = Fixture.Open(version, root: "/nonexistent");

        Assert.Equal(0, cgroup.GetMetrics().Value.Length);
        Assert.Empty(cgroup.GetProcessIds());
        Assert.Equal(0, cgroup.OomKills);
        Assert.False(cgroup.Exists);
        cgroup.Signal(9);
    }

    [Theory]
    [InlineData("v1", 2)]
    [InlineData("v2", 3)]
    public void Processes_and_kills_are_told(string version, long oomKills)
    {
        var cgroup = Fixture.Open(version);

        Assert.True(cgroup.Exists);
        Assert.Equal([4242, 4243, 4250], cgroup.GetProcessIds());
        Assert.Equal(oomKills, cgroup.OomKills);
    }

    private static V2.PSIStats Pressure(double some10, ulong some, ulong full) => new()
    {
        Some = new V2.PSIData { Avg10 = some10, Avg60 = 0.42, Avg300 = 0.08, Total = some },
        Full = new V2.PSIData { Avg60 = 0.21, Avg300 = 0.04, Total = full },
    };
}
