using System.Collections.Frozen;
using static Kuasar.Linux.Libc;

namespace Kuasar.Sandbox.Mounts;

/// <summary>fstab options sorted into what mount(2) takes: flags, a change of propagation, and data for the file system.</summary>
internal sealed class MountOptions
{
    private static readonly FrozenDictionary<string, (bool Clear, nuint Flag)> Known = new Dictionary<string, (bool, nuint)>
    {
        ["async"] = (true, MS_SYNCHRONOUS),
        ["atime"] = (true, MS_NOATIME),
        ["bind"] = (false, MS_BIND),
        ["defaults"] = (false, 0),
        ["dev"] = (true, MS_NODEV),
        ["diratime"] = (true, MS_NODIRATIME),
        ["dirsync"] = (false, MS_DIRSYNC),
        ["exec"] = (true, MS_NOEXEC),
        ["mand"] = (false, MS_MANDLOCK),
        ["noatime"] = (false, MS_NOATIME),
        ["nodev"] = (false, MS_NODEV),
        ["nodiratime"] = (false, MS_NODIRATIME),
        ["noexec"] = (false, MS_NOEXEC),
        ["nomand"] = (true, MS_MANDLOCK),
        ["norelatime"] = (true, MS_RELATIME),
        ["nostrictatime"] = (true, MS_STRICTATIME),
        ["nosuid"] = (false, MS_NOSUID),
        ["nosymfollow"] = (false, MS_NOSYMFOLLOW),
        ["rbind"] = (false, MS_BIND | MS_REC),
        ["relatime"] = (false, MS_RELATIME),
        ["remount"] = (false, MS_REMOUNT),
        ["ro"] = (false, MS_RDONLY),
        ["rw"] = (true, MS_RDONLY),
        ["strictatime"] = (false, MS_STRICTATIME),
        ["suid"] = (true, MS_NOSUID),
        ["sync"] = (false, MS_SYNCHRONOUS),
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private static readonly FrozenDictionary<string, nuint> Propagations = new Dictionary<string, nuint>
    {
        ["private"] = MS_PRIVATE,
        ["rprivate"] = MS_PRIVATE | MS_REC,
        ["shared"] = MS_SHARED,
        ["rshared"] = MS_SHARED | MS_REC,
        ["slave"] = MS_SLAVE,
        ["rslave"] = MS_SLAVE | MS_REC,
        ["unbindable"] = MS_UNBINDABLE,
        ["runbindable"] = MS_UNBINDABLE | MS_REC,
    }.ToFrozenDictionary(StringComparer.Ordinal);

    // What tells programs at boot when to mount; it says nothing to the kernel, and file systems refuse it.
    private static readonly FrozenSet<string> ForUserSpace =
        new[] { "_netdev", "auto", "noauto", "nofail", "user", "nouser", "users", "owner", "group" }.ToFrozenSet(StringComparer.Ordinal);

    internal nuint Flags { get; private set; }

    /// <summary>Each is a call of its own: the kernel takes but one kind at a time.</summary>
    internal List<nuint> Propagation { get; } = [];

    internal List<string> Data { get; } = [];

    /// <summary>The source is a file, to be mounted through a loop device.</summary>
    internal bool Loop { get; private set; }

    /// <summary>The loop device bypasses the page cache of its file.</summary>
    internal bool DirectLoop { get; private set; }

    /// <exception cref="MountException">An option that must not be passed over, and cannot be obeyed.</exception>
    internal static MountOptions Parse(IReadOnlyList<string> options)
    {
        var result = new MountOptions();
        foreach (var option in options)
        {
            if (Known.TryGetValue(option, out var known))
            {
                result.Flags = known.Clear ? result.Flags & ~known.Flag : result.Flags | known.Flag;
            }
            else if (Propagations.TryGetValue(option, out var propagation))
            {
                result.Propagation.Add(propagation);
            }
            else if (option == "loop")
            {
                result.Loop = true;
            }
            // containerd's mount manager works these off before a shim sees the mount; without that it would be another mount.
            else if (option.StartsWith("X-containerd.", StringComparison.Ordinal))
            {
                throw new MountException($"the option {option} is for containerd's mount manager, which has not consumed it");
            }
            else if (option.StartsWith("uidmap=", StringComparison.Ordinal) || option.StartsWith("gidmap=", StringComparison.Ordinal))
            {
                throw new MountException($"the option {option}: ID-mapped mounts are not supported");
            }
            else if (option.Length > 0 && !option.StartsWith("X-", StringComparison.Ordinal) && !option.StartsWith("x-", StringComparison.Ordinal) &&
                !ForUserSpace.Contains(option))
            {
                result.Data.Add(option);
            }
        }
        result.DirectLoop = result.Loop && result.Data.Remove("direct-io");
        return result;
    }
}
