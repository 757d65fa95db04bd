using System.Xml.Linq;

namespace Kuasar.Packages.Tests;

/// <summary>
/// A solution of somebody else: the examples' sources, the packages, and nothing of this repository's settings. It lies outside
/// of the repository, with a packages folder of its own above the machine's.
/// </summary>
internal sealed class Consumer : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar-consumer-").FullName;

    internal string Sandboxer => Path.Combine(_folder, "Sandboxer/bin/Release/net10.0/kuasar-runc-sandboxer");

    internal string Shim => Path.Combine(_folder, "Shim/bin/Release/net10.0/containerd-shim-kuasar-runc-v1");

    internal static async Task<Consumer> BuildAsync(Feed feed)
    {
        var consumer = new Consumer();
        try
        {
            await consumer.WriteAsync(feed);
            await Dotnet.RunAsync("build", Path.Combine(consumer._folder, "Consumer.slnx"), "-c", "Release");
            return consumer;
        }
        catch
        {
            consumer.Dispose();
            throw;
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private async Task WriteAsync(Feed feed)
    {
        // In addition to the sources that the machine has.
        Write("nuget.config", $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="packages" /></config>
              <fallbackPackageFolders><add key="machine" value="{await Dotnet.PackagesFolderAsync()}" /></fallbackPackageFolders>
              <packageSources><add key="kuasar-packages-test" value="{feed.Folder}" /></packageSources>
            </configuration>
            """);
        Write("Directory.Build.props", """
            <Project>
              <PropertyGroup>
                <TargetFramework>net10.0</TargetFramework>
                <OutputType>Exe</OutputType>
                <Nullable>enable</Nullable>
                <ImplicitUsings>enable</ImplicitUsings>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                <NuGetAudit>false</NuGetAudit>
              </PropertyGroup>
            </Project>
            """);
        Write("Directory.Build.targets", "<Project />");
        Write("Directory.Packages.props", "<Project />");
        File.Copy(Repository.Path("global.json"), Path.Combine(_folder, "global.json"));
        Write("Consumer.slnx", """<Solution><Project Path="Sandboxer/Sandboxer.csproj" /><Project Path="Shim/Shim.csproj" /></Solution>""");
        WriteProject("Sandboxer", "RuncSandboxer", "kuasar-runc-sandboxer", ("Kuasar.Sandbox.Grpc", feed.Version), ("System.CommandLine", CentralVersion("System.CommandLine")));
        WriteProject("Shim", "RuncShim", "containerd-shim-kuasar-runc-v1", ("Kuasar.Shim.Hosting", feed.Version));
    }

    private void WriteProject(string name, string example, string assembly, params (string Id, string Version)[] packages)
    {
        Directory.CreateDirectory(Path.Combine(_folder, name));
        Write($"{name}/{name}.csproj", $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup><AssemblyName>{assembly}</AssemblyName></PropertyGroup>
              <ItemGroup>
                {string.Join('\n', packages.Select(p => $"<PackageReference Include=\"{p.Id}\" Version=\"{p.Version}\" />"))}
              </ItemGroup>
            </Project>
            """);
        var examples = Repository.Path("examples");
        // What sandboxers' examples have in common is of no use to a shim's.
        string[] folders = name == "Sandboxer" ? [example, "Common"] : [example];
        foreach (var source in folders.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(examples, folder), "*.cs")))
        {
            File.Copy(source, Path.Combine(_folder, name, Path.GetFileName(source)));
        }
    }

    private static string CentralVersion(string id) =>
        XDocument.Load(Repository.Path("Directory.Packages.props")).Descendants("PackageVersion")
            .Single(e => e.Attribute("Include")!.Value == id).Attribute("Version")!.Value;

    private void Write(string name, string content) => File.WriteAllText(Path.Combine(_folder, name), content + "\n");
}
