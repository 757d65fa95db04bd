using System.Diagnostics;
using System.Text;

namespace Kuasar.EndToEnd.Tests.Pods;

/// <summary>examples/NriPlugin, as it was built with this program.</summary>
internal sealed class PluginProcess : IDisposable
{
    private readonly StringBuilder _output = new();
    private readonly Process _process;

    internal PluginProcess(string socket)
    {
        // As this program: .../bin/Release/net10.0
        var build = Path.GetRelativePath(Repository.Path("tests/Kuasar.EndToEnd.Tests"), AppContext.BaseDirectory);
        _process = new Process
        {
            StartInfo = new ProcessStartInfo(Path.Combine(Repository.Root, "examples/NriPlugin", build, "kuasar-demo-nri"), [socket])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        _process.OutputDataReceived += Append;
        _process.ErrorDataReceived += Append;
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    internal string Output
    {
        get
        {
            lock (_output)
            {
                return _output.ToString();
            }
        }
    }

    /// <summary>A line that begins so.</summary>
    internal Task SaysAsync(string line) => Within.UntilAsync(
        () => Task.FromResult($"\n{Output}".Contains($"\n{line}", StringComparison.Ordinal)), what: $"the plugin to say '{line}'");

    /// <summary>Its exit code after SIGTERM.</summary>
    internal async Task<int> StopAsync()
    {
        await Commands.RunAsync("/bin/kill", ["-TERM", $"{_process.Id}"], null, TimeSpan.FromSeconds(10));
        await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(20));
        return _process.ExitCode;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }
        _process.Dispose();
    }

    private void Append(object sender, DataReceivedEventArgs line)
    {
        if (line.Data is not null)
        {
            lock (_output)
            {
                _output.Append(line.Data).Append('\n');
            }
        }
    }
}
