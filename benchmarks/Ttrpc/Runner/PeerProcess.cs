using System.Diagnostics;

namespace Kuasar.Benchmarks.Runner;

/// <summary>A program that prints "ready" and ends when its stdin does.</summary>
internal sealed class PeerProcess : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly Process _process;

    private PeerProcess(Process process) => _process = process;

    internal int Id => _process.Id;

    internal static async Task<PeerProcess> StartAsync(Peer peer, IEnumerable<string> arguments)
    {
        var started = new PeerProcess(Start(peer.Program, arguments));
        try
        {
            using var patience = new CancellationTokenSource(s_patience);
            var line = await started._process.StandardOutput.ReadLineAsync(patience.Token);
            return line == "ready" ? started : throw new IOException($"{peer.Title} is not ready: {line}");
        }
        catch
        {
            await started.DisposeAsync();
            throw;
        }
    }

    internal static Task<PeerProcess> ServeAsync(Peer peer, string socket)
    {
        File.Delete(socket);
        return StartAsync(peer, [.. peer.Prefix, "serve", socket]);
    }

    /// <returns>What it printed.</returns>
    internal static async Task<string> CallAsync(Peer peer, string socket, PeerProcess server, Cell cell, TimeSpan window)
    {
        using var process = Start(peer.Program,
        [
            .. peer.Prefix, "call", socket, cell.Kind.ToString().ToLowerInvariant(), $"{cell.Size}", $"{cell.Callers}", $"{server.Id}",
            $"{(int)peer.Warm.TotalMilliseconds}", $"{(int)window.TotalMilliseconds}",
        ]);
        using var patience = new CancellationTokenSource(peer.Warm + window + s_patience);
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(patience.Token);
            await process.WaitForExitAsync(patience.Token);
            return process.ExitCode == 0 ? output : throw new IOException($"{peer.Title} fails at {cell.Name}");
        }
        catch (OperationCanceledException)
        {
            throw new IOException($"{peer.Title} hangs at {cell.Name}");
        }
        finally
        {
            process.Kill();
        }
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        try
        {
            await _process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            _process.Kill();
        }
        _process.Dispose();
    }

    private static Process Start(string program, IEnumerable<string> arguments) =>
        Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
}
