namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>The native programs.</summary>
internal static class Publication
{
    internal const string Version = "0.1.0", OtherVersion = "9.9.9";

    /// <summary>Where they are. Made here, when nobody says where and the sources are newer.</summary>
    internal static async Task<string> FindOrMakeAsync()
    {
        if (Settings.Binaries is { } given)
        {
            return given;
        }
        var folder = Repository.Path("artifacts/bin");
        var published = File.GetLastWriteTimeUtc(Path.Combine(folder, "kuasar-runc-sandboxer"));
        if (Sources().Any(file => File.GetLastWriteTimeUtc(file) > published))
        {
            await PublishAsync(Path.Combine(folder, "next"), "kuasar-runc-sandboxer", OtherVersion);
            await PublishAsync(folder);
        }
        return folder;
    }

    /// <summary>The same program as another version; see test.sh.</summary>
    internal static string OtherSandboxer(string binaries) => Path.Combine(binaries, "next/kuasar-runc-sandboxer");

    private static Task<string> PublishAsync(params string[] arguments) => Commands.RunAsync(
        "/bin/bash", [Repository.Path("eng/publish.sh"), .. arguments], null, TimeSpan.FromMinutes(15));

    private static IEnumerable<string> Sources() =>
        from root in (string[])["src", "examples"]
        from file in Directory.EnumerateFiles(Repository.Path(root), "*", SearchOption.AllDirectories)
        where !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/bin/", StringComparison.Ordinal)
        where Path.GetExtension(file) is ".cs" or ".csproj" or ".proto" or ".props"
        select file;
}
