using System.Diagnostics;

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>A program that a test started, ended by its pid; what it writes goes to a file.</summary>
internal sealed class ChildProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task _copying;

    internal ChildProcess(string log, string path, params IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(path) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
        _process = Process.Start(start)!;
        _copying = CopyAsync(log);
    }

    internal int ProcessId => _process.Id;

    internal Task ExitAsync() => _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30));

    internal bool HasExited => _process.HasExited;

    internal int ExitCode => _process.ExitCode;

    private async Task CopyAsync(string log)
    {
        await using var file = new FileStream(log, FileMode.Create, FileAccess.Write, FileShare.Read);
        await Task.WhenAll(Copy(_process.StandardOutput.BaseStream), Copy(_process.StandardError.BaseStream));

        async Task Copy(Stream stream)
        {
            var buffer = new byte[4096];
            int count;
            while ((count = await stream.ReadAsync(buffer)) > 0)
            {
                lock (file)
                {
                    file.Write(buffer, 0, count);
                    file.Flush();
                }
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }
        await _process.WaitForExitAsync();
        await _copying.WaitAsync(TimeSpan.FromSeconds(10)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _process.Dispose();
    }
}
