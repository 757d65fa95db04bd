using System.Text.RegularExpressions;

namespace Kuasar.Docs.Tests;

/// <summary>What the documents show and name is in the code.</summary>
public sealed partial class DocumentTests
{
    public static TheoryData<string> Documents => new(Markdown().Select(path => Path.GetRelativePath(Repository.Root, path)));

    [Theory]
    [MemberData(nameof(Documents))]
    public void EverySampleIsCompiledSomewhere(string document)
    {
        var compiled = Sources("examples").Concat(Sources("tests/Kuasar.Docs.Tests/Snippets")).Select(f => Plain(File.ReadAllText(f))).ToList();
        foreach (Match sample in CSharp().Matches(File.ReadAllText(Repository.Path(document))))
        {
            var text = Plain(sample.Groups[1].Value);
            Assert.True(compiled.Any(source => source.Contains(text, StringComparison.Ordinal)), $"{document}: no compiled file holds\n{text}");
        }
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void EveryRelativeLinkLeadsSomewhere(string document)
    {
        var folder = Path.GetDirectoryName(Repository.Path(document))!;
        foreach (Match link in Link().Matches(File.ReadAllText(Repository.Path(document))))
        {
            var target = link.Groups[1].Value.Split('#')[0];
            if (target.Length > 0 && !target.Contains("://", StringComparison.Ordinal))
            {
                Assert.True(Path.Exists(Path.Combine(folder, target)), $"{document}: {target} does not exist");
            }
        }
    }

    [Fact]
    public void EveryLogEventIsDocumented()
    {
        var document = File.ReadAllLines(Repository.Path("docs/log-events.md"));
        foreach (var source in Sources("src"))
        {
            foreach (Match e in LogEvent().Matches(File.ReadAllText(source)))
            {
                var (id, level) = (e.Groups[1].Value, e.Groups[2].Value);
                Assert.True(
                    document.Any(line => line.StartsWith($"| {id} | {level} |", StringComparison.Ordinal)),
                    $"docs/log-events.md lacks event {id}, {level}, of {Path.GetRelativePath(Repository.Root, source)}");
            }
        }
    }

    private static IEnumerable<string> Markdown() =>
        Directory.EnumerateFiles(Repository.Root, "*.md")
            .Concat(Directory.EnumerateFiles(Repository.Path("docs"), "*.md", SearchOption.AllDirectories))
            .Concat(Directory.EnumerateDirectories(Repository.Path("src")).SelectMany(folder => Directory.EnumerateFiles(folder, "*.md")));

    internal static IEnumerable<string> Sources(string folder) =>
        Directory.EnumerateFiles(Repository.Path(folder), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal) && !f.Contains("/bin/", StringComparison.Ordinal));

    /// <summary>Without the indentation, which differs between a document and a method.</summary>
    private static string Plain(string text) =>
        string.Join('\n', text.ReplaceLineEndings("\n").Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)) + '\n';

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharp();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"LoggerMessage\((?:EventId = )?(\d+), (?:Level = )?LogLevel\.(\w+)")]
    private static partial Regex LogEvent();
}
