using System.Globalization;
using System.Text;

namespace Kuasar.Linux;

/// <summary>What is mounted where in this process's mount namespace.</summary>
internal static class MountTable
{
    private const int MountPointField = 4, MaxLength = 64 << 20;

    /// <summary>The mount points below the folder, itself not among them, the last mounted first.</summary>
    internal static List<string> Below(string folder)
    {
        var points = new List<string>();
        var text = Encoding.UTF8.GetString(Libc.ReadFile("/proc/self/mountinfo", MaxLength) ?? []);
        foreach (var line in text.Split('\n'))
        {
            var fields = line.Split(' ', MountPointField + 2);
            if (fields.Length > MountPointField + 1 && Unescape(fields[MountPointField]) is var point
                && point.StartsWith(folder, StringComparison.Ordinal) && point.Length > folder.Length && point[folder.Length] == '/')
            {
                points.Insert(0, point);
            }
        }
        return points;
    }

    // The kernel writes blanks, tabs, line ends and backslashes as \ooo, each a byte.
    private static string Unescape(string field)
    {
        if (!field.Contains('\\', StringComparison.Ordinal))
        {
            return field;
        }
        var bytes = new List<byte>();
        for (var i = 0; i < field.Length; i++)
        {
            if (field[i] == '\\' && i + 3 < field.Length)
            {
                bytes.Add((byte)(((field[i + 1] - '0') << 6) | ((field[i + 2] - '0') << 3) | (field[i + 3] - '0')));
                i += 3;
            }
            else
            {
                bytes.AddRange(Encoding.UTF8.GetBytes(field[i].ToString(CultureInfo.InvariantCulture)));
            }
        }
        return Encoding.UTF8.GetString([.. bytes]);
    }
}
