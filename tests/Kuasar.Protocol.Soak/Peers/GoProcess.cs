using System.Diagnostics;

namespace Kuasar.Protocol.Soak;

/// <summary>The Go peer, serving or calling; it does not outlive this object.</summary>
internal sealed class GoProcess : IDisposable
{
    private readonly Process _process;

    private GoProcess(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true };
        start.Environment["KUASAR_GO_QUIET"] = "1";
        _process = Process.Start(start) ?? throw new InvalidOperationException($"{program} does not start");
    }

    internal bool HasExited => _process.HasExited;

    internal int ExitCode => _process.ExitCode;

    internal static async Task<GoProcess> ServeAsync(string program, string socket)
    {
        File.Delete(socket); // one that was killed leaves it
        var server = new GoProcess(program, ["serve", socket]);
        await server._process.StandardOutput.ReadLineAsync(); // "ready"
        return server;
    }

    internal static GoProcess Call(string program, string socket, int seconds, int callers, int pause) =>
        new(program, ["soak", socket, Messages.Number(seconds), Messages.Number(callers), Messages.Number(pause)]);

    /// <summary>What it says until it ends.</summary>
    internal async Task<string> EndAsync(TimeSpan bound)
    {
        using var limit = new CancellationTokenSource(bound);
        var output = await _process.StandardOutput.ReadToEndAsync(limit.Token);
        await _process.WaitForExitAsync(limit.Token);
        return output.TrimEnd();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }
        _process.StandardOutput.Dispose(); // it does not go with the process once it was used
        _process.Dispose();
    }
}
