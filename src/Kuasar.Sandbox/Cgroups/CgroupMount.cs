using System.Text;

namespace Kuasar.Sandbox.Cgroups;

/// <summary>A mounted cgroup hierarchy: what of it is mounted, where, and its controllers; null controllers: v2.</summary>
internal sealed record CgroupMount(string Root, string MountPoint, IReadOnlyList<string>? Controllers)
{
    private static List<CgroupMount> s_ofThisHost = [];

    /// <summary>
    /// As this process sees them. Read once: the mount table grows with every container, and its hierarchies stay where the boot put them.
    /// </summary>
    internal static IReadOnlyList<CgroupMount> OfThisHost =>
        s_ofThisHost.Count > 0 ? s_ofThisHost : s_ofThisHost = Parse(File.ReadAllText("/proc/self/mountinfo"));

    /// <summary>
    /// Reads the cgroup lines of /proc/PID/mountinfo:
    /// <code>
    /// 32 31 0:29 /root /mount/point rw,relatime shared:9 - cgroup source rw,cpu,cpuacct
    ///  0  1  2     3        4           5       (0..n)   ^  type   source super options
    /// </code>
    /// </summary>
    internal static List<CgroupMount> Parse(string mountInfo)
    {
        var result = new List<CgroupMount>();
        var text = mountInfo.AsSpan();
        while (CgroupReader.NextLine(ref text, out var line))
        {
            var separator = line.IndexOf(" - cgroup", StringComparison.Ordinal);
            if (separator < 0)
            {
                continue;
            }
            var tail = line[(separator + 3)..];
            var type = CgroupReader.NextWord(ref tail);
            CgroupReader.NextWord(ref tail);
            var options = CgroupReader.NextWord(ref tail);
            for (var i = 0; i < 3; i++)
            {
                CgroupReader.NextWord(ref line);
            }
            var root = Unescape(CgroupReader.NextWord(ref line));
            var mountPoint = Unescape(CgroupReader.NextWord(ref line));
            if (type is "cgroup2")
            {
                result.Add(new CgroupMount(root, mountPoint, null));
            }
            else if (type is "cgroup")
            {
                result.Add(new CgroupMount(root, mountPoint, options.ToString().Split(',')));
            }
        }
        return result;
    }

    /// <summary>The folder of a cgroup; null when no mount shows it. An empty controller is v2.</summary>
    internal static string? Find(IReadOnlyList<CgroupMount> mounts, string controller, string path)
    {
        foreach (var mount in mounts)
        {
            if (controller.Length == 0 ? mount.Controllers is not null : mount.Controllers?.Contains(controller) != true)
            {
                continue;
            }
            // A container may see but a part of the hierarchy, mounted as a whole.
            if (mount.Root == "/")
            {
                return mount.MountPoint + path;
            }
            if (path.StartsWith(mount.Root, StringComparison.Ordinal) && (path.Length == mount.Root.Length || path[mount.Root.Length] == '/'))
            {
                return mount.MountPoint + path[mount.Root.Length..];
            }
        }
        return null;
    }

    /// <summary>Space, tab, newline and backslash stand there as \ and three octal digits.</summary>
    private static string Unescape(ReadOnlySpan<char> field)
    {
        if (!field.Contains('\\'))
        {
            return field.ToString();
        }
        var result = new StringBuilder(field.Length);
        for (var i = 0; i < field.Length; i++)
        {
            if (field[i] == '\\' && i + 3 < field.Length)
            {
                result.Append((char)(((field[i + 1] - '0') << 6) | ((field[i + 2] - '0') << 3) | (field[i + 3] - '0')));
                i += 3;
            }
            else
            {
                result.Append(field[i]);
            }
        }
        return result.ToString();
    }
}

/// <summary>/proc/PID/cgroup: lines of "id:controller,controller:/path"; v2 has the id 0 and no controller.</summary>
internal static class CgroupMembership
{
    /// <summary>The path for each controller; v2's is under the empty name.</summary>
    internal static Dictionary<string, string> Parse(string procCgroup)
    {
        var result = new Dictionary<string, string>(StringComparer.Ordinal);
        var text = procCgroup.AsSpan();
        while (CgroupReader.NextLine(ref text, out var line))
        {
            if (CgroupReader.SplitAt(':', line, out _, out var rest) && CgroupReader.SplitAt(':', rest, out var controllers, out var path))
            {
                foreach (var range in controllers.Split(','))
                {
                    result[controllers[range].ToString()] = path.ToString();
                }
            }
        }
        return result;
    }
}
