using System.Text.RegularExpressions;
using Kuasar.Docs.Tests.Snippets;

namespace Kuasar.Docs.Tests;

/// <summary>docs/ttrpc.md runs, and docs/ttrpc-limits.md names tests that are.</summary>
public sealed partial class TtrpcGuideTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private static readonly string[] TestFolders = ["tests/Kuasar.Protocol.Tests", "tests/Kuasar.Protocol.Interop.Tests"];
    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar-docs-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task TheGuidesServerAndClient_Run()
    {
        string[] args = [$"unix://{_folder}/greeter.sock"];
        using var stop = new CancellationTokenSource();
        var serving = TtrpcGuide.ServerAsync(args, stop.Token);
        var console = Console.Out;
        using var output = new StringWriter();
        Console.SetOut(output);
        try
        {
            await TtrpcGuide.ClientAsync(args).WaitAsync(Limit);
        }
        finally
        {
            Console.SetOut(console);
        }
        await stop.CancelAsync();
        await serving.WaitAsync(Limit);
        Assert.Equal("Hello, world\n1\n2\n3\n", output.ToString());
    }

    [Fact]
    public void TheGuidesProto_IsTheOneThatIsCompiled()
    {
        var proto = File.ReadAllText(Repository.Path("tests/Kuasar.Docs.Tests/Protos/greeter.proto"));
        Assert.Contains($"```proto\n{proto}```", File.ReadAllText(Repository.Path("docs/ttrpc.md")), StringComparison.Ordinal);
    }

    [Fact]
    public void EveryTestThatTheLimitsName_Exists()
    {
        var tests = string.Concat(TestFolders.SelectMany(DocumentTests.Sources).Select(File.ReadAllText));
        var named = 0;
        foreach (var row in File.ReadLines(Repository.Path("docs/ttrpc-limits.md")).Where(line => line.StartsWith("| ", StringComparison.Ordinal)))
        {
            foreach (Match name in Code().Matches(row.TrimEnd('|', ' ').Split('|')[^1]))
            {
                named++;
                Assert.True(
                    Regex.IsMatch(tests, $@"public (async )?(Task|void) {name.Groups[1].Value}\("), $"no test {name.Groups[1].Value}");
            }
        }
        Assert.True(named > 50, $"only {named} tests found in the table");
    }

    [GeneratedRegex("`([A-Za-z0-9_]+)`")]
    private static partial Regex Code();
}
