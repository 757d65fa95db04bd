using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Xml.Linq;

namespace Kuasar.Packages.Tests;

/// <summary>What is in the packages.</summary>
public sealed class ContentTests(Feed feed)
{
    private static readonly Guid s_embeddedSource = new("0E8A571B-6926-466E-B4AD-8AB04611F5FE");

    [Theory]
    [InlineData("Kuasar.Protocol")]
    [InlineData("Kuasar.Sandbox")]
    [InlineData("Kuasar.Sandbox.Grpc")]
    [InlineData("Kuasar.Shim.Hosting")]
    public void A_package_holds_an_assembly_its_documentation_a_readme_and_nothing_else(string id)
    {
        using var package = ZipFile.OpenRead(feed.File(id, "nupkg"));
        var files = from entry in package.Entries
                    where !entry.FullName.StartsWith("_rels/", StringComparison.Ordinal)
                        && !entry.FullName.StartsWith("package/", StringComparison.Ordinal)
                        && entry.FullName != "[Content_Types].xml"
                    orderby entry.FullName
                    select entry.FullName;
        Assert.Equal(
            new[] { $"{id}.nuspec", "README.md", $"lib/net10.0/{id}.dll", $"lib/net10.0/{id}.xml" }.Order(StringComparer.Ordinal),
            files.Order(StringComparer.Ordinal));
        Assert.True(package.GetEntry("README.md")!.Length > 200);
    }

    [Theory]
    [InlineData("Kuasar.Protocol", "Google.Protobuf", "Grpc.Core.Api", "Microsoft.Extensions.Logging.Abstractions")]
    [InlineData("Kuasar.Sandbox", "Kuasar.Protocol", "Microsoft.Extensions.Hosting.Abstractions", "Microsoft.Extensions.Logging.Abstractions")]
    [InlineData("Kuasar.Sandbox.Grpc", "Grpc.AspNetCore.Server", "Kuasar.Sandbox")]
    [InlineData("Kuasar.Shim.Hosting", "Kuasar.Protocol")]
    public void A_package_says_what_it_is_and_what_it_needs(string id, params string[] needs)
    {
        using var package = ZipFile.OpenRead(feed.File(id, "nupkg"));
        using var stream = package.GetEntry($"{id}.nuspec")!.Open();
        var metadata = XDocument.Load(stream).Root!.Elements().Single();
        Assert.Equal(id, Text("id"));
        Assert.Equal(feed.Version, Text("version"));
        Assert.Equal("Apache-2.0", Text("license"));
        Assert.Equal("README.md", Text("readme"));
        Assert.Contains("containerd", Text("tags"), StringComparison.Ordinal);
        Assert.NotEmpty(Text("authors"));
        Assert.NotEmpty(Text("description"));

        var group = Assert.Single(Element("dependencies").Elements());
        Assert.Equal("net10.0", group.Attribute("targetFramework")!.Value);
        Assert.Equal(needs, group.Elements().Select(e => e.Attribute("id")!.Value).Order(StringComparer.Ordinal));
        Assert.All(
            group.Elements().Where(e => Feed.Ids.Contains(e.Attribute("id")!.Value)),
            e => Assert.Equal(feed.Version, e.Attribute("version")!.Value));

        XElement Element(string name) => metadata.Elements().Single(e => e.Name.LocalName == name);
        string Text(string name) => Element(name).Value;
    }

    [Theory]
    [InlineData("Kuasar.Protocol")]
    [InlineData("Kuasar.Sandbox")]
    [InlineData("Kuasar.Sandbox.Grpc")]
    [InlineData("Kuasar.Shim.Hosting")]
    public void Symbols_belong_to_the_assembly_and_hold_the_sources_that_no_repository_has(string id)
    {
        using var symbols = ZipFile.OpenRead(feed.File(id, "snupkg"));
        using var pdb = MetadataReaderProvider.FromPortablePdbStream(Content(symbols, $"lib/net10.0/{id}.pdb"));
        var reader = pdb.GetMetadataReader();

        using var package = ZipFile.OpenRead(feed.File(id, "nupkg"));
        using var assembly = new PEReader(Content(package, $"lib/net10.0/{id}.dll"));
        var link = assembly.ReadDebugDirectory().Single(e => e.Type == DebugDirectoryEntryType.CodeView);
        Assert.Equal(assembly.ReadCodeViewDebugDirectoryData(link).Guid, new BlobContentId(reader.DebugMetadataHeader!.Id).Guid);

        if (!Path.Exists(Repository.Path(".git")))
        {
            return; // Nothing tells which files a repository has.
        }
        var generated = from handle in reader.Documents
                        let path = reader.GetString(reader.GetDocument(handle).Name)
                        where path.Contains("/obj/", StringComparison.Ordinal) || path.EndsWith(".g.cs", StringComparison.Ordinal)
                        select (path, Embedded: reader.GetCustomDebugInformation(handle)
                            .Any(i => reader.GetGuid(reader.GetCustomDebugInformation(i).Kind) == s_embeddedSource));
        Assert.All(generated, document => Assert.True(document.Embedded, document.path));
    }

    private static MemoryStream Content(ZipArchive archive, string name)
    {
        using var stream = archive.GetEntry(name)!.Open();
        var copy = new MemoryStream();
        stream.CopyTo(copy);
        copy.Position = 0;
        return copy;
    }
}
