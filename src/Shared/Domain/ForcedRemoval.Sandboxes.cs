using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Domain;

internal static partial class ForcedRemoval
{
    /// <summary>Ends a sandbox of this id, if there is a record of one, with the tasks that cannot be without it; its pid or 0.</summary>
    private static int RemoveSandbox(
        DomainPaths paths, string containerdAddress, string containerdNamespace, string id, TimeSpan bound, List<string> problems, ref bool complete)
    {
        var folder = paths.SandboxFolder(containerdAddress, containerdNamespace, id);
        var record = ReadOrQuarantine(
            () => SandboxRecordFile.Read(folder),
            record => record.Id == id && record.Namespace == containerdNamespace && record.ContainerdAddress == containerdAddress,
            () => SandboxRecordFile.Quarantine(paths, folder),
            problems);
        if (record is null)
        {
            return 0;
        }
        if (!record.Removed)
        {
            record.Removed = true;
            Try(() => SandboxRecordFile.Write(folder, record), problems);
        }
        if (!record.Implied)
        {
            foreach (var (taskFolder, task) in TasksOf(paths, record))
            {
                task.Removed = true;
                Try(() => TaskRecordFile.Write(taskFolder, task), problems);
                complete &= End(task, bound, problems);
            }
        }
        complete &= End(record, folder, bound, problems);
        return (int)record.Pid;
    }

    /// <summary>
    /// Kills what is recorded, undoes its mounts, and those below the folder that nobody has recorded, and removes its cgroups. True when
    /// nothing is left.
    /// </summary>
    internal static bool End(SandboxRecord record, string folder, TimeSpan bound, List<string> problems)
    {
        var deadline = Deadline.After(bound);
        var complete = Kill(record.Processes, record.Cgroups, deadline, problems);
        complete &= Unmount(record.Mounts, problems);
        complete &= Try(() =>
        {
            foreach (var point in MountTable.Below(folder))
            {
                Libc.UnmountAll(point);
            }
        }, problems);
        foreach (var cgroup in record.Cgroups.Reverse())
        {
            complete &= Try(() => CgroupProcesses.Remove(cgroup, deadline), problems);
        }
        return complete;
    }

    /// <summary>The tasks whose record says that they are of this sandbox. Records that cannot be read are left to those who look for them.</summary>
    internal static List<(string Folder, TaskRecord Record)> TasksOf(DomainPaths paths, SandboxRecord sandbox)
    {
        var tasks = new List<(string, TaskRecord)>();
        var all = DomainPaths.NamespaceFolder(paths.Tasks, sandbox.ContainerdAddress, sandbox.Namespace);
        foreach (var folder in Directory.Exists(all) ? Directory.GetDirectories(all) : [])
        {
            try
            {
                if (TaskRecordFile.Read(folder) is { } task && task.Sandbox == sandbox.Id)
                {
                    tasks.Add((folder, task));
                }
            }
            catch (Exception e) when (e is InvalidDataException or IOException)
            {
            }
        }
        return tasks;
    }
}
