namespace Kuasar.Packages.Tests;

/// <summary>The whole of every package through the trimmer and NativeAOT.</summary>
public sealed class NativeTests(Feed feed)
{
    [Fact]
    public async Task Every_package_compiles_natively_without_a_warning_and_works()
    {
        Assert.SkipWhen(Settings.SkipReason is not null, $"no native executables: {Settings.SkipReason}");
        Assert.SkipUnless(File.Exists("/usr/bin/gcc") || File.Exists("/usr/bin/clang"), "neither gcc nor clang, by which NativeAOT links");
        var output = Repository.Path("artifacts/publish/aot-smoke");
        // Only a compilation from nothing repeats its warnings.
        foreach (var folder in (string[])[output, Repository.Path("artifacts/packages-build/obj/Kuasar.AotSmoke")])
        {
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }
        }
        var log = await Dotnet.RunAsync(
            "publish",
            [Repository.Path("tests/Kuasar.AotSmoke"), .. feed.BuildArguments, "-r", Dotnet.Rid, $"-p:PublishDir={output}/",
                "-p:TreatWarningsAsErrors=true", "-p:ILLinkTreatWarningsAsErrors=true", "-p:IlcTreatWarningsAsErrors=true"]);
        Assert.Contains("Generating native code", log, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\b(IL|AOT)\d{4}\b|: warning ", log);

        var program = Path.Combine(output, "Kuasar.AotSmoke");
        Assert.Equal("OK", (await Commands.RunAsync(program, [], null, TimeSpan.FromSeconds(30))).Trim());
        TestContext.Current.TestOutputHelper!.WriteLine($"{program}: {new FileInfo(program).Length / 1048576.0:0.0} MB");
    }
}
