namespace Kuasar.Vmm.Conformance.Tests;

/// <summary>Where things are.</summary>
internal static class Repository
{
    internal static string Root { get; } = Find();

    internal static string Path(string relative) => System.IO.Path.Combine(Root, relative);

    private static string Find()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(System.IO.Path.Combine(folder, "Kuasar.Lib.sln")))
        {
            folder = System.IO.Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("the repository's root");
        }
        return folder;
    }
}
