using System.Diagnostics;
using System.Text;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>A program that runs, and what it says. It does not outlive this object.</summary>
internal sealed class Program : IDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource _spoken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal Program(string program, params string[] arguments)
        : this(program, bytewise: false, arguments)
    {
    }

    /// <param name="program">Its path.</param>
    /// <param name="bytewise">Whether the Go peer's socket gives and takes bytes one by one.</param>
    /// <param name="arguments">Its arguments.</param>
    internal Program(string program, bool bytewise, params string[] arguments)
    {
        _process = new Process
        {
            StartInfo = new ProcessStartInfo(program, arguments)
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        if (bytewise)
        {
            _process.StartInfo.Environment["KUASAR_GO_BYTEWISE"] = "1";
        }
        _process.OutputDataReceived += Append;
        _process.ErrorDataReceived += Append;
        _process.Start();
        _process.StandardInput.Close();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    internal int Id => _process.Id;

    internal bool HasExited => _process.HasExited;

    /// <summary>When it has said something.</summary>
    internal Task Spoken => _spoken.Task;

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

    internal void Kill() => _process.Kill();

    /// <summary>Its exit code; -1 when it had to be killed.</summary>
    internal async Task<int> EndAsync(TimeSpan bound)
    {
        using var limit = new CancellationTokenSource(bound);
        try
        {
            await _process.WaitForExitAsync(limit.Token);
            return _process.ExitCode;
        }
        catch (OperationCanceledException)
        {
            _process.Kill(entireProcessTree: true);
            lock (_output)
            {
                _output.AppendLine($"no end within {bound}");
            }
            return -1;
        }
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }
        _process.Dispose();
    }

    private void Append(object sender, DataReceivedEventArgs line)
    {
        if (line.Data is not null)
        {
            lock (_output)
            {
                _output.AppendLine(line.Data);
            }
            _spoken.TrySetResult();
        }
    }
}
