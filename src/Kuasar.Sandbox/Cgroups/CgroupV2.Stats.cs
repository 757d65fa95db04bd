using System.Globalization;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.CgroupsV2;

namespace Kuasar.Sandbox.Cgroups;

internal sealed partial class CgroupV2
{
    private string[]? _hugePageSizes;

    /// <inheritdoc/>
    public override Any GetMetrics() => TypeUrl.Pack(ReadMetrics());

    internal Metrics ReadMetrics()
    {
        using var reader = new CgroupReader();
        var metrics = new Metrics
        {
            Pids = ReadPids(reader),
            Cpu = ReadCpu(reader),
            Memory = ReadMemory(reader),
            MemoryEvents = ReadMemoryEvents(reader),
            Io = ReadIO(reader),
            Rdma = ReadRdma(reader),
        };
        _hugePageSizes ??= HugePages.SizesIn(folder, ".current");
        foreach (var size in _hugePageSizes)
        {
            if (reader.ReadNumber(folder, $"hugetlb.{size}.current") is { } current)
            {
                metrics.Hugetlb.Add(new HugeTlbStat
                {
                    Pagesize = size,
                    Current = current,
                    Max = reader.ReadNumber(folder, $"hugetlb.{size}.max") ?? 0,
                    Failcnt = reader.ReadValue(folder, $"hugetlb.{size}.events", "max") ?? 0,
                });
            }
        }
        return metrics;
    }

    private PidsStat? ReadPids(CgroupReader reader) => reader.ReadNumber(folder, "pids.current") is { } current
        ? new PidsStat { Current = current, Limit = reader.ReadNumber(folder, "pids.max") ?? 0 }
        : null;

    private CPUStat? ReadCpu(CgroupReader reader)
    {
        if (!reader.TryRead(folder, "cpu.stat", out var text))
        {
            return null;
        }
        var stat = new CPUStat();
        while (CgroupReader.NextPair(ref text, out var key, out var value))
        {
            switch (key)
            {
                case "usage_usec": stat.UsageUsec = value; break;
                case "user_usec": stat.UserUsec = value; break;
                case "system_usec": stat.SystemUsec = value; break;
                case "nr_periods": stat.NrPeriods = value; break;
                case "nr_throttled": stat.NrThrottled = value; break;
                case "throttled_usec": stat.ThrottledUsec = value; break;
                case "nr_bursts": stat.NrBursts = value; break;
                case "burst_usec": stat.BurstUsec = value; break;
            }
        }
        stat.Psi = ReadPressure(reader, "cpu.pressure");
        return stat;
    }

    private MemoryStat? ReadMemory(CgroupReader reader)
    {
        if (!reader.TryRead(folder, "memory.stat", out var text))
        {
            return null;
        }
        var stat = new MemoryStat();
        while (CgroupReader.NextPair(ref text, out var key, out var value))
        {
            Set(stat, key, value);
        }
        stat.Usage = reader.ReadNumber(folder, "memory.current") ?? 0;
        stat.UsageLimit = reader.ReadNumber(folder, "memory.max") ?? 0;
        stat.MaxUsage = reader.ReadNumber(folder, "memory.peak") ?? 0;
        stat.SwapUsage = reader.ReadNumber(folder, "memory.swap.current") ?? 0;
        stat.SwapLimit = reader.ReadNumber(folder, "memory.swap.max") ?? 0;
        stat.SwapMaxUsage = reader.ReadNumber(folder, "memory.swap.peak") ?? 0;
        stat.Psi = ReadPressure(reader, "memory.pressure");
        return stat;
    }

    private static void Set(MemoryStat stat, ReadOnlySpan<char> key, ulong value)
    {
        switch (key)
        {
            case "anon": stat.Anon = value; break;
            case "file": stat.File = value; break;
            case "kernel_stack": stat.KernelStack = value; break;
            case "slab": stat.Slab = value; break;
            case "sock": stat.Sock = value; break;
            case "shmem": stat.Shmem = value; break;
            case "file_mapped": stat.FileMapped = value; break;
            case "file_dirty": stat.FileDirty = value; break;
            case "file_writeback": stat.FileWriteback = value; break;
            case "anon_thp": stat.AnonThp = value; break;
            case "inactive_anon": stat.InactiveAnon = value; break;
            case "active_anon": stat.ActiveAnon = value; break;
            case "inactive_file": stat.InactiveFile = value; break;
            case "active_file": stat.ActiveFile = value; break;
            case "unevictable": stat.Unevictable = value; break;
            case "slab_reclaimable": stat.SlabReclaimable = value; break;
            case "slab_unreclaimable": stat.SlabUnreclaimable = value; break;
            case "pgfault": stat.Pgfault = value; break;
            case "pgmajfault": stat.Pgmajfault = value; break;
            // Linux 5.9 split these two; the message has but the sum.
            case "workingset_refault" or "workingset_refault_anon" or "workingset_refault_file": stat.WorkingsetRefault += value; break;
            case "workingset_activate" or "workingset_activate_anon" or "workingset_activate_file": stat.WorkingsetActivate += value; break;
            case "workingset_nodereclaim": stat.WorkingsetNodereclaim = value; break;
            case "pgrefill": stat.Pgrefill = value; break;
            case "pgscan": stat.Pgscan = value; break;
            case "pgsteal": stat.Pgsteal = value; break;
            case "pgactivate": stat.Pgactivate = value; break;
            case "pgdeactivate": stat.Pgdeactivate = value; break;
            case "pglazyfree": stat.Pglazyfree = value; break;
            case "pglazyfreed": stat.Pglazyfreed = value; break;
            case "thp_fault_alloc": stat.ThpFaultAlloc = value; break;
            case "thp_collapse_alloc": stat.ThpCollapseAlloc = value; break;
        }
    }

    private MemoryEvents? ReadMemoryEvents(CgroupReader reader)
    {
        if (!reader.TryRead(folder, "memory.events", out var text))
        {
            return null;
        }
        var events = new MemoryEvents();
        while (CgroupReader.NextPair(ref text, out var key, out var value))
        {
            switch (key)
            {
                case "low": events.Low = value; break;
                case "high": events.High = value; break;
                case "max": events.Max = value; break;
                case "oom": events.Oom = value; break;
                case "oom_kill": events.OomKill = value; break;
                case "oom_group_kill": events.OomGroupKill = value; break;
            }
        }
        return events;
    }

    /// <summary>io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6"; a device without traffic may lack the values.</summary>
    private IOStat? ReadIO(CgroupReader reader)
    {
        var any = reader.TryRead(folder, "io.stat", out var text);
        var stat = new IOStat();
        while (CgroupReader.NextLine(ref text, out var line))
        {
            if (!CgroupReader.SplitAt(':', CgroupReader.NextWord(ref line), out var major, out var minor) ||
                !ulong.TryParse(major, out var majorNumber) || !ulong.TryParse(minor, out var minorNumber) || line.Trim().IsEmpty)
            {
                continue;
            }
            var entry = new IOEntry { Major = majorNumber, Minor = minorNumber };
            while (CgroupReader.NextAssignment(ref line, out var name, out var word))
            {
                var value = CgroupReader.Number(word) ?? 0;
                switch (name)
                {
                    case "rbytes": entry.Rbytes = value; break;
                    case "wbytes": entry.Wbytes = value; break;
                    case "rios": entry.Rios = value; break;
                    case "wios": entry.Wios = value; break;
                }
            }
            stat.Usage.Add(entry);
        }
        stat.Psi = ReadPressure(reader, "io.pressure");
        return any || stat.Psi is not null ? stat : null;
    }

    private RdmaStat? ReadRdma(CgroupReader reader)
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
            while (CgroupReader.NextAssignment(ref line, out var name, out var word))
            {
                var value = (uint)Math.Min(CgroupReader.Number(word) ?? 0, uint.MaxValue);
                switch (name)
                {
                    case "hca_handle": entry.HcaHandles = value; break;
                    case "hca_object": entry.HcaObjects = value; break;
                }
            }
            entries.Add(entry);
        }
    }

    /// <summary>PSI: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", then the same for "full". Null where PSI is off.</summary>
    private PSIStats? ReadPressure(CgroupReader reader, string file)
    {
        if (!reader.TryRead(folder, file, out var text))
        {
            return null;
        }
        var stats = new PSIStats();
        while (CgroupReader.NextLine(ref text, out var line))
        {
            var kind = CgroupReader.NextWord(ref line);
            var data = new PSIData();
            while (CgroupReader.NextAssignment(ref line, out var name, out var word))
            {
                switch (name)
                {
                    case "avg10": data.Avg10 = Average(word); break;
                    case "avg60": data.Avg60 = Average(word); break;
                    case "avg300": data.Avg300 = Average(word); break;
                    case "total": data.Total = CgroupReader.Number(word) ?? 0; break;
                }
            }
            switch (kind)
            {
                case "some": stats.Some = data; break;
                case "full": stats.Full = data; break;
            }
        }
        return stats;
    }

    private static double Average(ReadOnlySpan<char> word) =>
        double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : 0;
}
