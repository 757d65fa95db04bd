using System.Globalization;
using Kuasar.Linux;

namespace Kuasar.Sandbox.Hosting;

/// <summary>
/// The program's own code and constants, mapped from files. They are most of what a small idle server holds, and the page cache has them
/// anyway: a page that is wanted again costs a minor fault.
/// </summary>
internal static class FilePages
{
    /// <summary>The mappings that nobody has changed nor can: a file's, not writable, without a page of this process's own.</summary>
    internal static List<(nuint Start, nuint Length)> FindUnchanged()
    {
        // A mapping's first line is "START-END PERMISSIONS OFFSET DEVICE INODE   PATH", and "Anonymous:" is one of those that follow.
        var unchanged = new List<(nuint, nuint)>();
        (nuint Start, nuint Length)? candidate = null;
        foreach (var line in File.ReadLines("/proc/self/smaps"))
        {
            if (char.IsAsciiHexDigitLower(line[0]))
            {
                candidate = Candidate(line);
            }
            else if (candidate is { } mapping && line.StartsWith("Anonymous:", StringComparison.Ordinal) && line.EndsWith(" 0 kB", StringComparison.Ordinal))
            {
                unchanged.Add(mapping);
            }
        }
        return unchanged;
    }

    /// <summary>Gives the pages back.</summary>
    internal static void Forget(List<(nuint Start, nuint Length)> mappings)
    {
        foreach (var (start, length) in mappings)
        {
            Libc.ForgetPages(start, length);
        }
    }

    private static (nuint, nuint)? Candidate(string line)
    {
        var (dash, space) = (line.IndexOf('-', StringComparison.Ordinal), line.IndexOf(' ', StringComparison.Ordinal));
        if (!line.Contains(" /", StringComparison.Ordinal) || line.AsSpan(space + 1, 4) is not ("r--p" or "r-xp"))
        {
            return null;
        }
        var start = nuint.Parse(line.AsSpan(..dash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        var end = nuint.Parse(line.AsSpan((dash + 1)..space), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        return (start, end - start);
    }
}
