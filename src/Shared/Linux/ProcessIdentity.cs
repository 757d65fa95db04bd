using System.Globalization;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Linux;

/// <summary>A pid is a pid plus its start time plus the boot it belongs to; without them a number may name a stranger.</summary>
internal static class ProcessIdentity
{
    private static readonly Lazy<string> CurrentBoot = new(() => File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim());

    /// <summary>Of this run of the machine.</summary>
    internal static string BootId => CurrentBoot.Value;

    /// <summary>The identity of a living process or zombie; null when there is none.</summary>
    internal static ProcessRecord? Of(int pid) =>
        StartTime(pid) is { } start ? new ProcessRecord { Pid = pid, StartTime = start, BootId = CurrentBoot.Value } : null;

    /// <summary>Of a process that was there and may be gone, reaped by another: then without a start time, which nobody living has.</summary>
    internal static ProcessRecord OfStarted(int pid) => Of(pid) ?? new ProcessRecord { Pid = pid, BootId = CurrentBoot.Value };

    /// <summary>A pidfd of exactly the recorded process; null when it is gone, whoever has its pid now.</summary>
    internal static Microsoft.Win32.SafeHandles.SafeFileHandle? Open(ProcessRecord record)
    {
        if (record.Pid <= 1 || record.BootId != CurrentBoot.Value || Libc.OpenProcess(record.Pid) is not { } pidfd)
        {
            return null;
        }
        // Compared after the pidfd is held: from here on the pid cannot change hands unseen.
        if (StartTime(record.Pid) == record.StartTime)
        {
            return pidfd;
        }
        pidfd.Dispose();
        return null;
    }

    /// <summary>Waits until the process runs no more code; false when it still does at the deadline.</summary>
    /// <remarks>
    /// Not for its zombie alone: an init whose pid namespace holds a dead process that somebody else has to reap stays in the middle of
    /// its exit until that is done. It has given up its memory by then, and with it its executable.
    /// </remarks>
    internal static bool WaitForEnd(int pid, Microsoft.Win32.SafeHandles.SafeFileHandle pidfd, Deadline deadline)
    {
        var slice = TimeSpan.FromMilliseconds(20);
        while (!Libc.WaitReadable(pidfd, slice < deadline.Remaining ? slice : deadline.Remaining))
        {
            if (!HasExecutable(pid))
            {
                return true;
            }
            if (deadline.Remaining <= TimeSpan.Zero)
            {
                return false;
            }
        }
        return true;
    }

    private static bool HasExecutable(int pid)
    {
        try
        {
            Libc.Open($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/exe", Libc.O_PATH).Dispose();
            return true;
        }
        catch (LinuxException e) when (e.Errno is Libc.ENOENT or Libc.ESRCH)
        {
            return false;
        }
    }

    private static ulong? StartTime(int pid) => ProcessStat.TryRead(pid) is { } stat ? ulong.Parse(stat[22], CultureInfo.InvariantCulture) : null;
}
