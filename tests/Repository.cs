namespace Kuasar.Testing;

/// <summary>The checkout that the tests were built in.</summary>
internal static class Repository
{
    internal static string Root { get; } = Find();

    /// <param name="relative">A path from the root, for example <c>artifacts/bin</c>.</param>
    internal static string Path(string relative) => System.IO.Path.Combine(Root, relative);

    private static string Find()
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = System.IO.Path.GetDirectoryName(folder))
        {
            if (File.Exists(System.IO.Path.Combine(folder, "Kuasar.Lib.sln")))
            {
                return folder;
            }
        }
        throw new InvalidOperationException($"no Kuasar.Lib.sln above {AppContext.BaseDirectory}");
    }
}
