using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.CgroupsV1;

namespace Kuasar.Sandbox.Cgroups;

internal sealed partial class CgroupV1
{
    // cpuacct.stat counts in USER_HZ, which is 100 wherever containerd runs.
    private const ulong NanosecondsPerTick = 10_000_000;

    private string[]? _hugePageSizes;

    /// <inheritdoc/>
    public override Any GetMetrics() => TypeUrl.Pack(ReadMetrics());

    internal Metrics ReadMetrics()
    {
        using var reader = new CgroupReader();
        var metrics = new Metrics { Cpu = ReadCpu(reader) };
        if (Folder("pids") is { } pids && reader.ReadNumber(pids, "pids.current") is { } current)
        {
            metrics.Pids = new PidsStat { Current = current, Limit = reader.ReadNumber(pids, "pids.max", max: 0) ?? 0 };
        }
        if (Folder("memory") is { } memory)
        {
            metrics.Memory = ReadMemory(reader, memory);
            metrics.MemoryOomControl = ReadOomControl(reader, memory);
        }
        if (Folder("blkio") is { } blkio)
        {
            metrics.Blkio = ReadBlkIO(reader, blkio);
        }
        if (Folder("rdma") is { } rdma)
        {
            metrics.Rdma = ReadRdma(reader, rdma);
        }
        if (Folder("hugetlb") is { } hugetlb)
        {
            AddHugePages(reader, hugetlb, metrics.Hugetlb);
        }
        return metrics;
    }

    private CPUStat? ReadCpu(CgroupReader reader)
    {
        var stat = new CPUStat
        {
            Usage = Folder("cpuacct") is { } cpuacct ? ReadCpuUsage(reader, cpuacct) : null,
            Throttling = Folder("cpu") is { } cpu ? ReadThrottling(reader, cpu) : null,
        };
        return stat.Usage is null && stat.Throttling is null ? null : stat;
    }

    private static CPUUsage? ReadCpuUsage(CgroupReader reader, string folder)
    {
        if (reader.ReadNumber(folder, "cpuacct.usage") is not { } total)
        {
            return null;
        }
        var usage = new CPUUsage { Total = total };
        reader.TryRead(folder, "cpuacct.stat", out var text);
        while (CgroupReader.NextPair(ref text, out var key, out var value))
        {
            switch (key)
            {
                case "user": usage.User = value * NanosecondsPerTick; break;
                case "system": usage.Kernel = value * NanosecondsPerTick; break;
            }
        }
        reader.TryRead(folder, "cpuacct.usage_percpu", out text);
        text = text.Trim();
        while (CgroupReader.NextWord(ref text) is { IsEmpty: false } word)
        {
            usage.PerCpu.Add(CgroupReader.Number(word) ?? 0);
        }
        return usage;
    }

    private static Throttle? ReadThrottling(CgroupReader reader, string folder)
    {
        if (!reader.TryRead(folder, "cpu.stat", out var text))
        {
            return null;
        }
        var throttle = new Throttle();
        while (CgroupReader.NextPair(ref text, out var key, out var value))
        {
            switch (key)
            {
                case "nr_periods": throttle.Periods = value; break;
                case "nr_throttled": throttle.ThrottledPeriods = value; break;
                case "throttled_time": throttle.ThrottledTime = value; break;
            }
        }
        return throttle;
    }

    private static MemoryOomControl? ReadOomControl(CgroupReader reader, string folder)
    {
        if (!reader.TryRead(folder, "memory.oom_control", out var text))
        {
            return null;
        }
        var control = new MemoryOomControl();
        while (CgroupReader.NextPair(ref text, out var key, out var value))
        {
            switch (key)
            {
                case "oom_kill_disable": control.OomKillDisable = value; break;
                case "under_oom": control.UnderOom = value; break;
                case "oom_kill": control.OomKill = value; break;
            }
        }
        return control;
    }

    private static RdmaStat? ReadRdma(CgroupReader reader, string folder)
    {
        if (!reader.TryRead(folder, "rdma.current", out var text))
        {
            return null;
        }
        var stat = new RdmaStat();
        AddRdma(text, stat.Current);
        reader.TryRead(folder, "rdma.max", out text);
        AddRdma(text, stat.Limit);
        return stat;
    }

    /// <summary>"mlx4_0 hca_handle=2 hca_object=max".</summary>
    private static void AddRdma(ReadOnlySpan<char> text, RepeatedField<RdmaEntry> entries)
    {
        while (CgroupReader.NextLine(ref text, out var line))
        {
            var entry = new RdmaEntry { Device = CgroupReader.NextWord(ref line).ToString() };
            while (CgroupReader.NextAssignment(ref line, out var name, out var number))
            {
                var value = (uint)Math.Min(CgroupReader.Number(number) ?? 0, uint.MaxValue);
                switch (name)
                {
                    case "hca_handle": entry.HcaHandles = value; break;
                    case "hca_object": entry.HcaObjects = value; break;
                }
            }
            entries.Add(entry);
        }
    }

    private void AddHugePages(CgroupReader reader, string folder, RepeatedField<HugetlbStat> stats)
    {
        _hugePageSizes ??= HugePages.SizesIn(folder, ".usage_in_bytes");
        foreach (var size in _hugePageSizes)
        {
            if (reader.ReadNumber(folder, $"hugetlb.{size}.usage_in_bytes") is { } usage)
            {
                stats.Add(new HugetlbStat
                {
                    Pagesize = size,
                    Usage = usage,
                    // The most that was used, not the limit, as containerd has it.
                    Max = reader.ReadNumber(folder, $"hugetlb.{size}.max_usage_in_bytes") ?? 0,
                    Failcnt = reader.ReadNumber(folder, $"hugetlb.{size}.failcnt") ?? 0,
                });
            }
        }
    }
}
