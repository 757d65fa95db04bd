using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Domain;

/// <summary>What a forced removal came to.</summary>
/// <param name="Pid">The task's first process as recorded; 0 when nothing is known of it.</param>
/// <param name="Complete">Nothing that the record names is left.</param>
/// <param name="Problems">What went wrong, a line each.</param>
internal sealed record RemovalResult(int Pid, bool Complete, IReadOnlyList<string> Problems);

/// <summary>
/// Ends one task or sandbox by what is recorded of it, with no help of the sandboxer that ran it: its processes, its cgroups, its mounts.
/// Goes by the record alone, so it can never touch another id, and may be repeated. What is of sandboxes: <c>ForcedRemoval.Sandboxes.cs</c>.
/// </summary>
internal static partial class ForcedRemoval
{
    /// <summary>Removes the task or sandbox of this id in the sandboxer's stead, and leaves word for it in the record.</summary>
    /// <remarks>The <c>rootfs</c> of the bundle is unmounted too, of the recorded bundle when none is given. The bound is for processes to end.</remarks>
    internal static RemovalResult Remove(DomainPaths paths, string containerdAddress, string containerdNamespace, string id, string? bundle, TimeSpan bound)
    {
        var problems = new List<string>();
        var folder = paths.TaskFolder(containerdAddress, containerdNamespace, id);
        var record = ReadOrQuarantine(
            () => TaskRecordFile.Read(folder),
            record => record.Id == id && record.Namespace == containerdNamespace && record.ContainerdAddress == containerdAddress,
            () => TaskRecordFile.Quarantine(paths, folder),
            problems);
        var complete = true;
        if (record is not null)
        {
            // First of all: if we are killed half-way, the sandboxer goes on from here.
            if (!record.Removed)
            {
                record.Removed = true;
                Try(() => TaskRecordFile.Write(folder, record), problems);
            }
            complete = End(record, bound, problems);
        }
        var sandboxPid = RemoveSandbox(paths, containerdAddress, containerdNamespace, id, bound, problems, ref complete);
        if ((bundle ?? record?.Bundle) is { Length: > 0 } known)
        {
            complete &= Try(() => Libc.UnmountAll(Path.Combine(known, "rootfs")), problems);
        }
        return new RemovalResult(record is { Processes: [{ } first, ..] } ? first.Pid : sandboxPid, complete, problems);
    }

    /// <summary>Kills what is recorded and undoes its mounts, the last one first. True when nothing is left.</summary>
    internal static bool End(TaskRecord record, TimeSpan bound, List<string> problems)
    {
        var processes = record.Processes.Concat(record.Execs.Select(exec => exec.Started).OfType<ProcessRecord>());
        var complete = Kill(processes, record.Cgroups, Deadline.After(bound), problems);
        return Unmount(record.Mounts, problems) && complete;
    }

    private static bool Kill(IEnumerable<ProcessRecord> processes, IReadOnlyList<string> cgroups, Deadline deadline, List<string> problems)
    {
        var complete = true;
        var killed = new List<(int Pid, SafeFileHandle Handle)>();
        foreach (var process in processes)
        {
            complete &= Try(() =>
            {
                if (ProcessIdentity.Open(process) is { } handle)
                {
                    killed.Add((process.Pid, handle));
                    Libc.SendSignal(handle, Libc.SIGKILL);
                }
            }, problems);
        }
        foreach (var cgroup in cgroups)
        {
            complete &= Try(() => CgroupProcesses.End(cgroup, deadline), problems);
        }
        foreach (var (pid, handle) in killed)
        {
            if (!ProcessIdentity.WaitForEnd(pid, handle, deadline))
            {
                complete = false;
                problems.Add($"process {pid} outlives SIGKILL");
            }
            handle.Dispose();
        }
        return complete;
    }

    private static bool Unmount(IEnumerable<string> mounts, List<string> problems)
    {
        var complete = true;
        foreach (var mount in mounts.Reverse())
        {
            complete &= Try(() => Libc.UnmountAll(mount), problems);
        }
        return complete;
    }

    /// <summary>The record; null when there is none, or none that can be read, which is then put aside.</summary>
    private static T? ReadOrQuarantine<T>(Func<T?> read, Func<T, bool> isTheOne, Func<string> quarantine, List<string> problems) where T : class
    {
        try
        {
            return read() is not { } record ? null : isTheOne(record) ? record : throw new InvalidDataException("the record is of another id");
        }
        catch (InvalidDataException e)
        {
            problems.Add(e.Message);
            Try(() => problems.Add($"it is kept as {quarantine()}"), problems);
        }
        catch (LinuxException e)
        {
            problems.Add(e.Message);
        }
        return null;
    }

    // One thing that fails must not keep the rest from being done.
    private static bool Try(Action step, List<string> problems)
    {
        try
        {
            step();
            return true;
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            problems.Add(e.Message);
            return false;
        }
    }
}
