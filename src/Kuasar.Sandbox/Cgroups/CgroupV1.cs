using Kuasar.Linux;
using Kuasar.Sandbox.Processes;

namespace Kuasar.Sandbox.Cgroups;

/// <summary>A cgroup v1: a folder for each controller, several of which may be one.</summary>
internal sealed partial class CgroupV1(IReadOnlyDictionary<string, string> controllers, string proc) : Cgroup
{
    // Where the processes are read from: runtimes put a container in all of them, and these are the least likely to be shared.
    private static readonly string[] ProcessControllers = ["pids", "freezer", "devices", "memory", "cpu", "cpuacct"];

    // The freezer comes first: whoever kills one folder after the other must thaw what is frozen, or none of it dies.
    private readonly string[] _folders =
        [.. controllers.OrderBy(c => c.Key != "freezer").Select(c => c.Value).Distinct(StringComparer.Ordinal)];

    /// <inheritdoc/>
    public override bool IsV2 => false;

    /// <inheritdoc/>
    public override IReadOnlyList<string> Folders => _folders;

    internal override bool Exists => Array.Exists(_folders, Directory.Exists);

    internal override bool? IsFrozen
    {
        get
        {
            using var reader = new CgroupReader();
            return Folder("freezer") is { } freezer && reader.TryRead(freezer, "freezer.state", out var state) ? state.Trim() is not "THAWED" : null;
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyList<int> GetProcessIds() => ReadProcessIds(
        ProcessControllers.Select(Folder).FirstOrDefault(folder => folder is not null && Directory.Exists(folder)) ?? _folders[0]);

    /// <inheritdoc/>
    public override long OomKills => CountOomKills() ?? 0;

    internal override IDisposable WatchOom(EventLoop loop, Action onOom)
    {
        if (Folder("memory") is not { } memory || Libc.TryOpenRead($"{memory}/memory.oom_control") is not { } oomControl)
        {
            return OomWatch.None;
        }
        using (oomControl)
        {
            var seen = CountOomKills();
            var counter = Libc.EventFd();
            try
            {
                using var eventControl = Libc.Open($"{memory}/cgroup.event_control", Libc.O_WRONLY);
                // Documentation/admin-guide/cgroup-v1/memory.rst: write "<event_fd> <fd of memory.oom_control>" to cgroup.event_control.
                var line = $"{(int)counter.DangerousGetHandle()} {(int)oomControl.DangerousGetHandle()}";
                if (Libc.Write(eventControl, System.Text.Encoding.ASCII.GetBytes(line)) is < 0 and var error)
                {
                    throw new LinuxException($"watch {memory}/memory.oom_control", -error);
                }
                // The kernel signals before it kills, when a cgroup above runs out, and once more when this one is removed.
                return new OomWatch(counter, IsOom, onOom) { Recheck = seen is not null }.Start(loop);
            }
            catch
            {
                counter.Dispose();
                throw;
            }

            bool IsOom()
            {
                if (seen is not { } before)
                {
                    return Directory.Exists(memory);
                }
                seen = Math.Max(before, OomKills);
                return seen > before;
            }
        }
    }

    /// <summary>A v1 kernel counts where the victim was, so those of the cgroups below are added. Null: it does not count at all.</summary>
    private long? CountOomKills()
    {
        if (Folder("memory") is not { } memory)
        {
            return null;
        }
        using var reader = new CgroupReader();
        return Count(memory);

        long? Count(string folder)
        {
            if (reader.ReadValue(folder, "memory.oom_control", "oom_kill") is not { } own)
            {
                return null;
            }
            var sum = (long)own;
            foreach (var child in SubFolders(folder))
            {
                sum += Count(child) ?? 0;
            }
            return sum;
        }
    }

    private string? Folder(string controller) => controllers.TryGetValue(controller, out var folder) ? folder : null;
}
