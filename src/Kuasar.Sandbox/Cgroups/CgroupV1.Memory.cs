using Kuasar.Protocol.Contracts.CgroupsV1;

namespace Kuasar.Sandbox.Cgroups;

internal sealed partial class CgroupV1
{
    private static MemoryStat? ReadMemory(CgroupReader reader, string folder)
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
        stat.Usage = ReadEntry(reader, folder, "memory");
        stat.Swap = ReadEntry(reader, folder, "memory.memsw");
        stat.Kernel = ReadEntry(reader, folder, "memory.kmem");
        stat.KernelTcp = ReadEntry(reader, folder, "memory.kmem.tcp");
        return stat;
    }

    /// <summary>One of the four counters; null where the kernel does not keep it, as swap without swap accounting.</summary>
    private static MemoryEntry? ReadEntry(CgroupReader reader, string folder, string name) =>
        reader.ReadNumber(folder, $"{name}.usage_in_bytes") is { } usage
            ? new MemoryEntry
            {
                Usage = usage,
                Max = reader.ReadNumber(folder, $"{name}.max_usage_in_bytes", max: 0) ?? 0,
                Failcnt = reader.ReadNumber(folder, $"{name}.failcnt", max: 0) ?? 0,
                Limit = reader.ReadNumber(folder, $"{name}.limit_in_bytes", max: 0) ?? 0,
            }
            : null;

    private static void Set(MemoryStat stat, ReadOnlySpan<char> key, ulong value)
    {
        switch (key)
        {
            case "cache": stat.Cache = value; break;
            case "rss": stat.Rss = value; break;
            case "rss_huge": stat.RssHuge = value; break;
            case "mapped_file": stat.MappedFile = value; break;
            case "dirty": stat.Dirty = value; break;
            case "writeback": stat.Writeback = value; break;
            case "pgpgin": stat.PgPgIn = value; break;
            case "pgpgout": stat.PgPgOut = value; break;
            case "pgfault": stat.PgFault = value; break;
            case "pgmajfault": stat.PgMajFault = value; break;
            case "inactive_anon": stat.InactiveAnon = value; break;
            case "active_anon": stat.ActiveAnon = value; break;
            case "inactive_file": stat.InactiveFile = value; break;
            case "active_file": stat.ActiveFile = value; break;
            case "unevictable": stat.Unevictable = value; break;
            case "hierarchical_memory_limit": stat.HierarchicalMemoryLimit = value; break;
            case "hierarchical_memsw_limit": stat.HierarchicalSwapLimit = value; break;
            case "total_cache": stat.TotalCache = value; break;
            case "total_rss": stat.TotalRss = value; break;
            case "total_rss_huge": stat.TotalRssHuge = value; break;
            case "total_mapped_file": stat.TotalMappedFile = value; break;
            case "total_dirty": stat.TotalDirty = value; break;
            case "total_writeback": stat.TotalWriteback = value; break;
            case "total_pgpgin": stat.TotalPgPgIn = value; break;
            case "total_pgpgout": stat.TotalPgPgOut = value; break;
            case "total_pgfault": stat.TotalPgFault = value; break;
            case "total_pgmajfault": stat.TotalPgMajFault = value; break;
            case "total_inactive_anon": stat.TotalInactiveAnon = value; break;
            case "total_active_anon": stat.TotalActiveAnon = value; break;
            case "total_inactive_file": stat.TotalInactiveFile = value; break;
            case "total_active_file": stat.TotalActiveFile = value; break;
            case "total_unevictable": stat.TotalUnevictable = value; break;
        }
    }
}
