using Kuasar.Protocol.Fuzz;
using Kuasar.Protocol.Fuzz.Engine;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Fuzzing;

/// <summary>The fuzz targets of tests/Kuasar.Protocol.Fuzz. Alone: they take all there is of the machine.</summary>
[CollectionDefinition(nameof(FuzzTests), DisableParallelization = true)]
[Collection(nameof(FuzzTests))]
public sealed class FuzzTests
{
    private const int DefaultSeconds = 20;

    public static TheoryData<string> Targets => [.. FuzzTargets.All.Select(target => target.Name)];

    /// <summary>Every input that was ever of interest, crashes that are fixed among them.</summary>
    [Theory]
    [MemberData(nameof(Targets))]
    public async Task Corpus_BreaksNothing(string name)
    {
        var target = FuzzTargets.Find(name);
        var committed = Corpus.Read(Corpus.Committed(name)).ToList();
        Assert.NotEmpty(committed);
        foreach (var (file, bytes) in committed.Concat(target.Seeds().Select((seed, i) => ($"seed {i}", seed))))
        {
            try
            {
                await target.RunAsync(bytes).AsTask().Within();
            }
            catch (Exception error)
            {
                Assert.Fail($"{file}: {error}");
            }
        }
    }

    /// <summary>KUASAR_FUZZ_SECONDS, 20, in all; 0 skips.</summary>
    [Theory]
    [MemberData(nameof(Targets))]
    public async Task Fuzzing_BreaksNothing(string name)
    {
        var skip = Environment.GetEnvironmentVariable("KUASAR_E2E_SKIP");
        Assert.SkipWhen(skip is { Length: > 0 }, skip ?? "");
        var seconds = Environment.GetEnvironmentVariable("KUASAR_FUZZ_SECONDS") is { Length: > 0 } set
            ? int.Parse(set, System.Globalization.CultureInfo.InvariantCulture)
            : DefaultSeconds;
        Assert.SkipWhen(seconds == 0, "KUASAR_FUZZ_SECONDS is 0");
        Assert.Null(await FuzzRun.RunAsync(name, Math.Max(1, seconds / FuzzTargets.All.Count), Console.Out));
    }
}
