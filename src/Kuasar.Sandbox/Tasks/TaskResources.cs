using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Mounts;
using Kuasar.Sandbox.Sandboxes;

namespace Kuasar.Sandbox.Tasks;

/// <summary>
/// What a task holds beside its container: its folder and record, its mounts, its share of the sandbox. Taken step by step, each step
/// recorded before it is taken; released as a whole, and as often as wanted.
/// </summary>
internal sealed class TaskResources(string folder, TaskRecord record)
{
    private SandboxMember? _sandbox;

    internal string Folder => folder;

    internal void Open()
    {
        Libc.CreateFolders(folder, DomainPaths.FolderMode);
        TaskRecordFile.Write(folder, record);
    }

    internal void Mount(IReadOnlyList<MountSpec> mounts, string rootfs)
    {
        if (mounts.Count == 0)
        {
            return;
        }
        record.Mounts.Add(rootfs);
        TaskRecordFile.Write(folder, record);
        // Mounts at a place below the root go with it: unmounting is of the whole stack, and lazy where it must be.
        foreach (var point in RootfsMounter.Mount(mounts, rootfs).Where(point => !record.Mounts.Contains(point)))
        {
            record.Mounts.Add(point);
        }
    }

    internal async Task<SandboxMember> JoinAsync(SandboxManager sandboxes, TaskKey key) =>
        _sandbox = await sandboxes.JoinAsync(key, record.ContainerdAddress, record.Bundle).ConfigureAwait(false);

    /// <summary>Writes down who must be ended if this sandboxer cannot do it any more.</summary>
    internal void Record(Container container)
    {
        if (Linux.ProcessIdentity.Of(container.ProcessId) is { } process)
        {
            record.Processes.Add(process);
        }
        record.Cgroups.AddRange(container.Cgroup?.Folders ?? []);
        TaskRecordFile.Write(folder, record);
    }

    /// <summary>Writes down which runtime is about to keep state of the container.</summary>
    internal void Intend(OciRuntime runtime)
    {
        record.Runtime = runtime.Path;
        record.RuntimeRoot = runtime.Options.Root;
        TaskRecordFile.Write(folder, record);
    }

    /// <exception cref="IOException">A mount or a file could not be removed; the rest is kept for another try.</exception>
    internal async Task ReleaseAsync()
    {
        RootfsMounter.Unmount(record.Mounts);
        if (_sandbox is { } sandbox)
        {
            await sandbox.DisposeAsync().ConfigureAwait(false);
        }
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
