[assembly: AssemblyFixture(typeof(Kuasar.Protocol.Interop.Tests.GoToolchain))]

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>The Go peer, built once for the run; or why there is none.</summary>
public sealed class GoToolchain : IAsyncLifetime
{
    // Of eng/go-ttrpc.sh: Go cannot be had here, which is no fault of ours.
    private const int Unavailable = 3;

    private string? _skipReason;
    private string? _failure;

    /// <summary>The program.</summary>
    internal static string Program => Repository.Path("artifacts/go/peer");

    public async ValueTask InitializeAsync()
    {
        if (Environment.GetEnvironmentVariable("KUASAR_E2E_SKIP") is { Length: > 0 } reason)
        {
            _skipReason = reason;
            return;
        }
        using var script = new Program("bash", Repository.Path("eng/go-ttrpc.sh"));
        var code = await script.EndAsync(TimeSpan.FromMinutes(15));
        if (code == Unavailable)
        {
            _skipReason = script.Output.TrimEnd().Split('\n')[^1];
        }
        else if (code != 0)
        {
            _failure = $"eng/go-ttrpc.sh failed, exit code {code}:\n{script.Output}";
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    /// <summary>Skips or fails the test that cannot run.</summary>
    internal void Require()
    {
        Assert.SkipWhen(_skipReason is not null, _skipReason ?? "");
        Assert.True(_failure is null, _failure);
    }
}
