namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>The native programs.</summary>
internal static class Publication
{
    /// <summary>Where they are. Made here, when nobody says where and the sources are newer.</summary>
    internal static async Task<string> FindOrMakeAsync()
    {
        if (Settings.Binaries is { } given)
        {
            return given;
        }
        var folder = Path.Combine(Settings.Repository, "artifacts/bin");
        var published = File.GetLastWriteTimeUtc(Path.Combine(folder, "kuasar-runc-sandboxer"));
        if (Sources().Any(file => File.GetLastWriteTimeUtc(file) > published))
        {
            await Commands.RunAsync(
                "/bin/bash", [Path.Combine(Settings.Repository, "eng/publish.sh"), folder], null, TimeSpan.FromMinutes(15));
        }
        return folder;
    }

    private static IEnumerable<string> Sources() =>
        from root in (string[])["src", "examples"]
        from file in Directory.EnumerateFiles(Path.Combine(Settings.Repository, root), "*", SearchOption.AllDirectories)
        where !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/bin/", StringComparison.Ordinal)
        where Path.GetExtension(file) is ".cs" or ".csproj" or ".proto" or ".props"
        select file;
}
