using System.Globalization;
using System.Text;

namespace Kuasar.EndToEnd.Tests.Linux;

/// <summary>What /proc says of processes and mounts.</summary>
internal static class Proc
{
    /// <summary>A process that runs: a zombie, which has no program any more, does not.</summary>
    internal static bool Runs(int pid) => Program(pid) is not null;

    internal static string? Program(int pid)
    {
        try
        {
            return File.ResolveLinkTarget($"/proc/{pid}/exe", returnFinalTarget: false)?.FullName;
        }
        catch (IOException)
        {
            return null;
        }
    }

    internal static string CommandLine(int pid) => Text($"/proc/{pid}/cmdline").Replace('\0', ' ').TrimEnd();

    internal static string Name(int pid) => Text($"/proc/{pid}/comm").TrimEnd('\n');

    /// <summary>0 when it is gone. A zombie has one still.</summary>
    internal static int Parent(int pid) =>
        Text($"/proc/{pid}/stat") is { Length: > 0 } stat
            ? int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1], CultureInfo.InvariantCulture)
            : 0;

    internal static IEnumerable<int> Pids() =>
        Directory.EnumerateDirectories("/proc")
            .Select(folder => int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) ? pid : 0)
            .Where(pid => pid > 0);

    /// <summary>Children, their children and so on, zombies too.</summary>
    internal static HashSet<int> Descendants(int pid)
    {
        var children = Pids().ToLookup(Parent);
        var found = new HashSet<int>();
        var open = new Queue<int>([pid]);
        while (open.TryDequeue(out var parent))
        {
            foreach (var child in children[parent].Where(found.Add))
            {
                open.Enqueue(child);
            }
        }
        return found;
    }

    /// <summary>Its memory; a page that n processes share counts 1/n in each.</summary>
    internal static double PssMiB(int pid)
    {
        var line = File.ReadLines($"/proc/{pid}/smaps_rollup").Single(l => l.StartsWith("Pss:", StringComparison.Ordinal));
        return double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / 1024;
    }

    internal static int FileDescriptors(int pid) => Directory.EnumerateFileSystemEntries($"/proc/{pid}/fd").Count();

    /// <summary>What each file descriptor is, for a failure's message.</summary>
    internal static IReadOnlyList<string> DescribeFileDescriptors(int pid) =>
    [
        .. Directory.EnumerateFileSystemEntries($"/proc/{pid}/fd").Select(link =>
        {
            try
            {
                return new FileInfo(link).LinkTarget ?? "?";
            }
            catch (IOException)
            {
                return "gone";
            }
        }).Order(StringComparer.Ordinal),
    ];

    /// <summary>The mount points that begin with this text.</summary>
    internal static IReadOnlyList<string> MountsBelow(string folder) =>
    [
        .. File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4])
            .Where(point => point.StartsWith(folder, StringComparison.Ordinal)),
    ];

    private static string Text(string path)
    {
        try
        {
            return File.ReadAllText(path, Encoding.UTF8);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
