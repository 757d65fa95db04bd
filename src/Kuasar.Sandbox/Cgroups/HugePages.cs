namespace Kuasar.Sandbox.Cgroups;

/// <summary>The huge page sizes that a hugetlb controller's folder has files for.</summary>
internal static class HugePages
{
    private const string Prefix = "hugetlb.";

    /// <summary>The sizes ("2MB", "1GB") of the files "hugetlb.SIZE" + suffix, sorted; those of reservations ("2MB.rsvd") are left out.</summary>
    internal static string[] SizesIn(string folder, string suffix)
    {
        try
        {
            return [.. Directory.EnumerateFiles(folder, Prefix + "*" + suffix)
                .Select(path => Path.GetFileName(path)[Prefix.Length..^suffix.Length])
                .Where(size => !size.Contains('.'))
                .Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
