using System.Globalization;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.Sandbox.Pods;

internal sealed partial class PodCgroup
{
    // What Linux takes where nothing is said.
    private const long DefaultPeriod = 100_000;

    /// <summary>Sets the limits that are given, of pod and overhead together; 0 is not given, -1 is none.</summary>
    /// <exception cref="SandboxException">FailedPrecondition: the pod has no cgroup. Or what the kernel refused.</exception>
    internal void Update(SandboxResources resources)
    {
        if (_cgroup is not { Exists: true })
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"the pod has no cgroup ({Path})");
        }
        if (resources.Resources is not { } limits)
        {
            return;
        }
        var overhead = resources.Overhead ?? new LinuxContainerResources();
        var period = limits.CpuPeriod > 0 ? limits.CpuPeriod : DefaultPeriod;
        var quota = limits.CpuQuota <= 0 ? limits.CpuQuota : limits.CpuQuota + InPeriod(overhead, period);
        var shares = limits.CpuShares <= 0 ? 0 : limits.CpuShares + Math.Max(0, overhead.CpuShares);
        var memory = limits.MemoryLimitInBytes <= 0 ? limits.MemoryLimitInBytes : limits.MemoryLimitInBytes + Math.Max(0, overhead.MemoryLimitInBytes);
        try
        {
            if (_cgroup.IsV2)
            {
                SetV2(Folders[0], shares, quota, period, memory);
            }
            else
            {
                SetV1(shares, quota, period, memory);
            }
        }
        catch (LinuxException e)
        {
            throw new SandboxException(e.Errno == Libc.EINVAL ? SandboxError.InvalidArgument : SandboxError.Unknown, e.Message, e);
        }
    }

    private static long InPeriod(LinuxContainerResources overhead, long period) =>
        overhead.CpuQuota <= 0 ? 0 : overhead.CpuQuota * period / (overhead.CpuPeriod > 0 ? overhead.CpuPeriod : DefaultPeriod);

    private void SetV1(long shares, long quota, long period, long memory)
    {
        if (FolderOf("cpu.shares") is { } cpu)
        {
            if (shares > 0)
            {
                Write(cpu, "cpu.shares", Number(shares));
            }
            if (quota != 0)
            {
                // Of quota and period the kernel looks at the ratio at each step; without a quota any period will do.
                Write(cpu, "cpu.cfs_quota_us", "-1");
                Write(cpu, "cpu.cfs_period_us", Number(period));
                Write(cpu, "cpu.cfs_quota_us", Number(quota));
            }
        }
        if (memory != 0 && FolderOf("memory.limit_in_bytes") is { } memoryFolder)
        {
            Write(memoryFolder, "memory.limit_in_bytes", Number(memory));
        }

        string? FolderOf(string file) => Folders.FirstOrDefault(folder => File.Exists($"{folder}/{file}"));
    }

    private static void SetV2(string folder, long shares, long quota, long period, long memory)
    {
        if (shares > 0)
        {
            // Shares of 2 to 262144 are weights of 1 to 10000, as OCI runtimes have it.
            Write(folder, "cpu.weight", Number(1 + ((Math.Clamp(shares, 2, 262144) - 2) * 9999 / 262142)));
        }
        if (quota != 0)
        {
            Write(folder, "cpu.max", $"{(quota < 0 ? "max" : Number(quota))} {Number(period)}");
        }
        if (memory != 0)
        {
            Write(folder, "memory.max", memory < 0 ? "max" : Number(memory));
        }
    }

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
}
