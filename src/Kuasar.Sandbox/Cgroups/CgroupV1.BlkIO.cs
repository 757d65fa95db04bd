using Google.Protobuf.Collections;
using Kuasar.Protocol.Contracts.CgroupsV1;

namespace Kuasar.Sandbox.Cgroups;

internal sealed partial class CgroupV1
{
    /// <summary>
    /// What counts differs by kernel and I/O scheduler: CFQ's files until Linux 5.0, else those of throttling, which every request
    /// passes, and BFQ's for what throttling does not count. The first file with any entry wins.
    /// </summary>
    private BlkIOStat? ReadBlkIO(CgroupReader reader, string folder)
    {
        var stat = new BlkIOStat();
        var found = Add("io_service_bytes_recursive", stat.IoServiceBytesRecursive, "throttle.io_service_bytes_recursive", "throttle.io_service_bytes");
        found |= Add("io_serviced_recursive", stat.IoServicedRecursive, "throttle.io_serviced_recursive", "throttle.io_serviced");
        found |= Add("io_queued_recursive", stat.IoQueuedRecursive, "bfq.io_queued_recursive");
        found |= Add("io_service_time_recursive", stat.IoServiceTimeRecursive, "bfq.io_service_time_recursive");
        found |= Add("io_wait_time_recursive", stat.IoWaitTimeRecursive, "bfq.io_wait_time_recursive");
        found |= Add("io_merged_recursive", stat.IoMergedRecursive, "bfq.io_merged_recursive");
        found |= Add("time_recursive", stat.IoTimeRecursive, "bfq.time_recursive");
        found |= Add("sectors_recursive", stat.SectorsRecursive, "bfq.sectors_recursive");
        if (!found)
        {
            return null;
        }
        NameDevices(reader, stat);
        return stat;

        bool Add(string file, RepeatedField<BlkIOEntry> entries, params ReadOnlySpan<string> others)
        {
            var exists = AddEntries(reader, folder, file, entries);
            foreach (var other in others)
            {
                exists |= entries.Count == 0 && AddEntries(reader, folder, other, entries);
            }
            return exists;
        }
    }

    /// <summary>"8:0 Read 4096" or "8:0 4096"; the sum of a device stands as "Total", that of all devices has no device and is left out.</summary>
    private static bool AddEntries(CgroupReader reader, string folder, string file, RepeatedField<BlkIOEntry> entries)
    {
        if (!reader.TryRead(folder, "blkio." + file, out var text))
        {
            return false;
        }
        while (CgroupReader.NextLine(ref text, out var line))
        {
            if (!CgroupReader.SplitAt(':', CgroupReader.NextWord(ref line), out var major, out var minor) ||
                !ulong.TryParse(major, out var majorNumber) || !ulong.TryParse(minor, out var minorNumber))
            {
                continue;
            }
            var operation = CgroupReader.NextWord(ref line);
            var number = CgroupReader.NextWord(ref line);
            if (number.IsEmpty)
            {
                number = operation;
                operation = default;
            }
            if (CgroupReader.Number(number) is { } value)
            {
                entries.Add(new BlkIOEntry { Major = majorNumber, Minor = minorNumber, Op = OperationName(operation), Value = value });
            }
        }
        return true;
    }

    private static string OperationName(ReadOnlySpan<char> name) => name switch
    {
        "" => "",
        "Read" => "Read",
        "Write" => "Write",
        "Sync" => "Sync",
        "Async" => "Async",
        "Discard" => "Discard",
        "Total" => "Total",
        _ => name.ToString(),
    };

    /// <summary>Gives the entries the names of /proc/partitions: two lines of heading, then "major minor blocks name".</summary>
    private void NameDevices(CgroupReader reader, BlkIOStat stat)
    {
        RepeatedField<BlkIOEntry>[] lists =
        [
            stat.IoServiceBytesRecursive, stat.IoServicedRecursive, stat.IoQueuedRecursive, stat.IoServiceTimeRecursive,
            stat.IoWaitTimeRecursive, stat.IoMergedRecursive, stat.IoTimeRecursive, stat.SectorsRecursive,
        ];
        if (Array.TrueForAll(lists, list => list.Count == 0))
        {
            return;
        }
        reader.TryRead(proc, "partitions", out var text);
        while (CgroupReader.NextLine(ref text, out var line))
        {
            if (!ulong.TryParse(CgroupReader.NextWord(ref line), out var major) || !ulong.TryParse(CgroupReader.NextWord(ref line), out var minor))
            {
                continue;
            }
            CgroupReader.NextWord(ref line);
            string? device = null;
            foreach (var list in lists)
            {
                foreach (var entry in list)
                {
                    if (entry.Major == major && entry.Minor == minor && entry.Device.Length == 0)
                    {
                        entry.Device = device ??= "/dev/" + line.Trim().ToString();
                    }
                }
            }
        }
    }
}
