using System.Diagnostics;
using System.Globalization;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>One target fuzzed in a process of its own, so that a crash of any kind ends that and not the caller.</summary>
internal static class FuzzRun
{
    /// <summary>The child's exit code when an invariant broke.</summary>
    internal const int Found = 10;

    // Plenty for the targets; something that grows with the number of inputs reaches it within a run.
    private const string HeapLimit = "0x10000000";

    /// <summary>Fuzzes; lines go to <paramref name="output"/>. Null is well, else the reason and where the input is.</summary>
    internal static async Task<string?> RunAsync(string target, int seconds, TextWriter output)
    {
        var folder = Path.Combine(Corpus.Artifacts, target);
        Directory.CreateDirectory(folder);
        var program = Instrumented.Prepare();
        var current = Path.Combine(folder, "current");
        var start = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet")
        {
            ArgumentList = { program, "child", target, seconds.ToString(CultureInfo.InvariantCulture), current },
            Environment = { ["DOTNET_GCHeapHardLimit"] = HeapLimit, ["DOTNET_TieredPGO"] = "0" },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var child = new Process { StartInfo = start };
        DataReceivedEventHandler show = (_, line) =>
        {
            if (line.Data is not null)
            {
                lock (output)
                {
                    output.WriteLine(line.Data);
                }
            }
        };
        child.OutputDataReceived += show;
        child.ErrorDataReceived += show;
        child.Start();
        child.BeginOutputReadLine();
        child.BeginErrorReadLine();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(seconds + 120));
        try
        {
            await child.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            child.Kill();
            await child.WaitForExitAsync(CancellationToken.None);
        }
        if (child.ExitCode == 0)
        {
            return null;
        }
        var crash = Corpus.Write(folder, "crash-", CurrentInput.Read(current));
        return $"{target}: exit code {child.ExitCode}, the input is {crash} (again: eng/fuzz.sh again {target} {crash})";
    }
}
