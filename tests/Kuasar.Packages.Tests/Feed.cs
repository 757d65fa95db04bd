[assembly: AssemblyFixture(typeof(Kuasar.Packages.Tests.Feed))]

namespace Kuasar.Packages.Tests;

/// <summary>The packages, made for this run in a version that no cache can have.</summary>
public sealed class Feed : IAsyncLifetime
{
    internal static readonly string[] Ids = ["Kuasar.Protocol", "Kuasar.Sandbox", "Kuasar.Sandbox.Grpc", "Kuasar.Shim.Hosting"];

    internal string Version { get; } = $"0.1.0-test.{DateTimeOffset.UtcNow.ToUnixTimeSeconds()}";

    internal string Folder { get; } = Repository.Path("artifacts/packages-test");

    /// <summary>Apart from everybody's bin and obj, which others may be using.</summary>
    internal string[] BuildArguments =>
        ["-c", "Release", "--artifacts-path", Repository.Path("artifacts/packages-build"), $"-p:PackageVersion={Version}"];

    internal string File(string id, string extension) => Path.Combine(Folder, $"{id}.{Version}.{extension}");

    public async ValueTask InitializeAsync()
    {
        if (Directory.Exists(Folder))
        {
            Directory.Delete(Folder, recursive: true);
        }
        await Dotnet.RunAsync(
            "pack", [Repository.Path("src/Packages.slnf"), .. BuildArguments, $"-p:PackageOutputPath={Folder}"]);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
