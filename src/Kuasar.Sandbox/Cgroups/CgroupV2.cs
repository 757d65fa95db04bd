using Kuasar.Linux;
using Kuasar.Sandbox.Processes;

namespace Kuasar.Sandbox.Cgroups;

/// <summary>A cgroup v2: one folder with the files of every controller that is enabled for it.</summary>
internal sealed partial class CgroupV2(string folder) : Cgroup
{
    /// <inheritdoc/>
    public override bool IsV2 => true;

    /// <inheritdoc/>
    public override IReadOnlyList<string> Folders { get; } = [folder];

    internal override bool Exists => Directory.Exists(folder);

    internal override bool? IsFrozen
    {
        get
        {
            using var reader = new CgroupReader();
            return reader.ReadNumber(folder, "cgroup.freeze") is { } value ? value != 0 : null;
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyList<int> GetProcessIds() => ReadProcessIds(folder);

    /// <inheritdoc/>
    public override long OomKills
    {
        get
        {
            using var reader = new CgroupReader();
            return (long)(reader.ReadValue(folder, "memory.events", "oom_kill") ?? 0);
        }
    }

    internal override IDisposable WatchOom(EventLoop loop, Action onOom)
    {
        // Read before the watch begins: a kill in between shows at the next event instead of never.
        var seen = OomKills;
        if (Libc.Watch($"{folder}/memory.events", Libc.IN_MODIFY) is not { } watch)
        {
            return OomWatch.None;
        }
        // The file changes for low, high and max too, and the loop's thread alone comes here.
        return new OomWatch(watch, HasMore, onOom).Start(loop);

        bool HasMore()
        {
            var now = OomKills;
            var more = now > seen;
            seen = Math.Max(now, seen);
            return more;
        }
    }
}
