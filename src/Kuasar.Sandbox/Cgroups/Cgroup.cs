using System.Globalization;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Linux;
using Kuasar.Sandbox.Cgroups;
using Kuasar.Sandbox.Processes;

namespace Kuasar.Sandbox;

/// <summary>
/// One container's cgroup as the kernel has it: in v1 a folder for each controller, in v2 one folder. It only looks and signals;
/// whoever made the cgroup (the OCI runtime) sets its limits and removes it.
/// </summary>
public abstract class Cgroup
{
    private static readonly TimeSpan KillLimit = TimeSpan.FromSeconds(2);

    private protected Cgroup()
    {
    }

    /// <summary>The cgroup that a process is in.</summary>
    /// <returns>
    /// Null when the process is gone or has no cgroup of its own. Its own is never the root, and neither the cgroup of this very
    /// process nor one above it: statistics of those would be the host's or ours, and a signal would hit ourselves. In v1 that is
    /// decided for each controller, so a process may have its own in some of them only.
    /// </returns>
    public static Cgroup? OfProcess(int pid)
    {
        try
        {
            return Parse(
                File.ReadAllText($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/cgroup"),
                CgroupMount.OfThisHost,
                File.ReadAllText("/proc/self/cgroup"));
        }
        catch (IOException)
        {
            // No such folder, or ESRCH on the read: the process has ended.
            return null;
        }
    }

    /// <summary>The same from the files' contents.</summary>
    /// <param name="procCgroup">/proc/PID/cgroup.</param>
    /// <param name="mounts">Of the hierarchies.</param>
    /// <param name="ownCgroup">/proc/self/cgroup.</param>
    /// <param name="root">Put before every mount point and before /proc: a folder that plays the file system's root.</param>
    internal static Cgroup? Parse(string procCgroup, IReadOnlyList<CgroupMount> mounts, string ownCgroup, string root = "")
    {
        var own = CgroupMembership.Parse(ownCgroup);
        var folders = new Dictionary<string, string>(StringComparer.Ordinal);
        string? unified = null;
        foreach (var (controller, path) in CgroupMembership.Parse(procCgroup))
        {
            if (path == "/" || path.Contains("/..", StringComparison.Ordinal) || path.EndsWith(" (deleted)", StringComparison.Ordinal) ||
                (own.TryGetValue(controller, out var ours) && IsWithin(ours, path)))
            {
                continue;
            }
            if (CgroupMount.Find(mounts, controller, path) is not { } folder)
            {
                continue;
            }
            if (controller.Length == 0)
            {
                unified = root + folder;
            }
            // A named hierarchy (name=systemd) only groups; it controls and counts nothing.
            else if (!controller.StartsWith("name=", StringComparison.Ordinal))
            {
                folders[controller] = root + folder;
            }
        }
        return Of(folders, unified, root);
    }

    /// <summary>The cgroup of this path, whether or not it is there yet: where an OCI runtime puts a container with this cgroupsPath.</summary>
    /// <param name="path">Absolute within each hierarchy.</param>
    /// <param name="mounts">Of the hierarchies.</param>
    /// <param name="root">Put before every mount point and before /proc.</param>
    /// <returns>Null when no hierarchy is mounted.</returns>
    internal static Cgroup? At(string path, IReadOnlyList<CgroupMount> mounts, string root = "")
    {
        var folders = new Dictionary<string, string>(StringComparer.Ordinal);
        string? unified = null;
        foreach (var mount in mounts)
        {
            // A named hierarchy only groups. Options that are no controllers (rw, xattr) do no harm: they lead to the same folder.
            if (mount.Controllers?.Any(c => c.StartsWith("name=", StringComparison.Ordinal)) == false)
            {
                foreach (var controller in mount.Controllers)
                {
                    folders.TryAdd(controller, root + mount.MountPoint + path);
                }
            }
            if (mount.Controllers is null)
            {
                unified ??= root + mount.MountPoint + path;
            }
        }
        return Of(folders, unified, root);
    }

    /// <summary>The cgroup of these folders, as <see cref="Folders"/> gave them.</summary>
    /// <param name="recorded">Absolute, in the cgroup file systems; whether or not they are still there.</param>
    /// <param name="mounts">Of the hierarchies.</param>
    /// <returns>Null when none of them is below a hierarchy that is mounted.</returns>
    internal static Cgroup? FromFolders(IReadOnlyList<string> recorded, IReadOnlyList<CgroupMount> mounts)
    {
        var folders = new Dictionary<string, string>(StringComparer.Ordinal);
        string? unified = null;
        foreach (var mount in mounts)
        {
            if (recorded.FirstOrDefault(folder => folder.StartsWith(mount.MountPoint + "/", StringComparison.Ordinal)) is not { } folder)
            {
                continue;
            }
            foreach (var controller in mount.Controllers ?? [])
            {
                folders.TryAdd(controller, folder);
            }
            if (mount.Controllers is null)
            {
                unified ??= folder;
            }
        }
        return Of(folders, unified, "");
    }

    // Hybrid machines mount an empty v2 hierarchy beside the v1 controllers, which then are what counts.
    private static Cgroup? Of(Dictionary<string, string> folders, string? unified, string root) =>
        folders.Count > 0 ? new CgroupV1(folders, root + "/proc") : unified is not null ? new CgroupV2(unified) : null;

    /// <summary>Whether this is a cgroup of the unified hierarchy, v2.</summary>
    public abstract bool IsV2 { get; }

    /// <summary>The absolute path of each folder: one in v2, one for each hierarchy in v1.</summary>
    public abstract IReadOnlyList<string> Folders { get; }

    /// <summary>
    /// The statistics as containerd has them: <c>io.containerd.cgroups.v1.Metrics</c> or <c>io.containerd.cgroups.v2.Metrics</c>.
    /// What the kernel does not tell is left out, so a cgroup that is gone gives an empty message and never an exception.
    /// </summary>
    /// <remarks>As in containerd's cgroups library, "max" is <see cref="ulong.MaxValue"/> in v2 and 0 in v1.</remarks>
    public abstract Any GetMetrics();

    /// <summary>The ids of the processes in the cgroup and in those below it, ascending.</summary>
    public abstract IReadOnlyList<int> GetProcessIds();

    /// <summary>
    /// Sends a signal to every process of the cgroup. SIGKILL also reaches those that are forked meanwhile and those that are
    /// frozen; where the kernel cannot do that in one go, it returns when none is left or after about two seconds.
    /// </summary>
    public void Signal(int signal)
    {
        if (signal != Libc.SIGKILL)
        {
            SignalEach(signal);
            return;
        }
        var deadline = Deadline.After(KillLimit);
        foreach (var folder in Folders)
        {
            CgroupProcesses.Kill(folder, deadline);
        }
    }

    /// <summary>How many processes of the cgroup and those below the kernel has killed for want of memory; 0 too where it does not count.</summary>
    public abstract long OomKills { get; }

    /// <summary>
    /// Calls back on the loop's thread each time <see cref="OomKills"/> has grown, until disposed. The callback must not throw.
    /// Without a memory controller it never does.
    /// </summary>
    /// <remarks>A v1 kernel that counts no kills (before 4.13) tells of shortages instead, and of those of the cgroups above too.</remarks>
    /// <exception cref="LinuxException">The kernel refuses the watch.</exception>
    internal abstract IDisposable WatchOom(EventLoop loop, Action onOom);

    /// <summary>Whether its processes are frozen, or about to be; null where the kernel does not tell.</summary>
    internal abstract bool? IsFrozen { get; }

    /// <summary>Whether any of the folders is still there.</summary>
    internal abstract bool Exists { get; }

    /// <summary>The process ids under one folder, its sub-folders included.</summary>
    private protected static IReadOnlyList<int> ReadProcessIds(string folder)
    {
        var ids = new SortedSet<int>();
        using var reader = new CgroupReader();
        Add(folder);
        return [.. ids];

        void Add(string at)
        {
            reader.TryRead(at, "cgroup.procs", out var text);
            while (CgroupReader.NextLine(ref text, out var line))
            {
                // 0 is a process of a pid namespace that we do not see.
                if (int.TryParse(line, out var pid) && pid > 0)
                {
                    ids.Add(pid);
                }
            }
            foreach (var child in SubFolders(at))
            {
                Add(child);
            }
        }
    }

    /// <summary>Sends a signal to each process once.</summary>
    private void SignalEach(int signal)
    {
        foreach (var pid in GetProcessIds())
        {
            // Init and we ourselves are in no container, whatever a cgroup file says.
            if (pid > 1 && pid != Environment.ProcessId)
            {
                Libc.Kill(pid, signal);
            }
        }
    }

    /// <summary>The cgroups right below one; none when it is gone.</summary>
    private protected static string[] SubFolders(string folder)
    {
        try
        {
            return Directory.GetDirectories(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static bool IsWithin(string path, string ancestor) =>
        path.StartsWith(ancestor, StringComparison.Ordinal) && (path.Length == ancestor.Length || path[ancestor.Length] == '/');
}
