using System.Diagnostics;

namespace Kuasar.Protocol.Load.Tests;

/// <summary>A short soak; eng/soak.sh runs a long one.</summary>
public sealed class SoakTests
{
    /// <summary>Long enough that its connections, which live up to 6 s, have come and gone.</summary>
    private const string Seconds = "30";

    [Fact]
    public async Task Soak_EndsWell()
    {
        // With Go, when the interop tests have built it.
        var go = Repository.Path("artifacts/go/peer");
        string[] arguments = ["soak", "--seconds", Seconds, .. File.Exists(go) ? new[] { "--go", go } : []];
        using var soak = Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "Kuasar.Protocol.Soak"), arguments)
        {
            RedirectStandardOutput = true,
        })!;
        try
        {
            var output = await soak.StandardOutput.ReadToEndAsync().WaitAsync(TimeSpan.FromMinutes(5));
            await soak.WaitForExitAsync();
            TestContext.Current.TestOutputHelper?.WriteLine(output);
            Assert.True(soak.ExitCode == 0, output);
        }
        finally
        {
            if (!soak.HasExited)
            {
                soak.Kill(entireProcessTree: true);
            }
        }
    }
}
