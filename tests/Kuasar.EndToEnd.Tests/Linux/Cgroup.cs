using System.Globalization;

namespace Kuasar.EndToEnd.Tests.Linux;

/// <summary>The limits of a process's control group, or of the one above, as the kernel has them; both versions.</summary>
internal static class Cgroup
{
    private static readonly bool s_unified = File.Exists("/sys/fs/cgroup/cgroup.controllers");

    internal static long MemoryLimit(uint pid, bool above = false) =>
        Number(s_unified ? Read(pid, above, "", "memory.max") : Read(pid, above, "memory", "memory.limit_in_bytes"));

    internal static (int Quota, int Period) CpuQuota(uint pid, bool above = false)
    {
        string[] values = s_unified ? Read(pid, above, "", "cpu.max").Split(' ')
            : [Read(pid, above, "cpu", "cpu.cfs_quota_us"), Read(pid, above, "cpu", "cpu.cfs_period_us")];
        return ((int)Number(values[0]), (int)Number(values[1]));
    }

    // A line of /proc/PID/cgroup: number, controllers, path.
    private static string Read(uint pid, bool above, string controller, string file)
    {
        var line = File.ReadLines($"/proc/{pid}/cgroup").Select(l => l.Split(':', 3)).First(l => l[1].Split(',').Contains(controller));
        return File.ReadAllText(Path.Combine("/sys/fs/cgroup", controller, line[2].TrimStart('/'), above ? ".." : "", file)).Trim();
    }

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
