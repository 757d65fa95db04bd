using System.Runtime.InteropServices;

namespace Kuasar.Packages.Tests;

/// <summary>The SDK's command line.</summary>
internal static class Dotnet
{
    /// <summary>Where this runtime lies: what an executable needs to know that is started without our environment.</summary>
    internal static string Root { get; } = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));

    internal static string Rid => RuntimeInformation.RuntimeIdentifier.Contains("arm64", StringComparison.Ordinal) ? "linux-arm64" : "linux-x64";

    // Servers that stay after the command would keep its output open, and so hold back its end.
    private static readonly Dictionary<string, string> s_environment = new()
    {
        ["MSBUILDDISABLENODEREUSE"] = "1",
        ["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0",
        ["UseSharedCompilation"] = "false",
        ["DOTNET_NOLOGO"] = "1",
        ["DOTNET_CLI_UI_LANGUAGE"] = "en",
    };

    /// <summary>Its output.</summary>
    internal static Task<string> RunAsync(string command, params string[] arguments) =>
        Commands.RunAsync("dotnet", [command, .. arguments, "-nologo"], s_environment, TimeSpan.FromMinutes(5));

    internal static Task<string> PackagesFolderAsync() => Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } folder
        ? Task.FromResult(folder)
        : LocalsAsync();

    private static async Task<string> LocalsAsync()
    {
        var answer = await Commands.RunAsync("dotnet", ["nuget", "locals", "global-packages", "--list"], s_environment, TimeSpan.FromMinutes(1));
        return answer[(answer.IndexOf(": ", StringComparison.Ordinal) + 2)..].Trim();
    }
}
