using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// A logging program (<c>binary://</c>): the process writes to two pipes, the program reads them on its fds 3 and 4 and closes, or writes
/// a byte to, fd 5 when it is ready. Its environment is CONTAINER_ID and CONTAINER_NAMESPACE alone.
/// </summary>
internal sealed class LogBinary : IAsyncDisposable
{
    private static readonly TimeSpan ReadyLimit = TimeSpan.FromSeconds(10), StopLimit = TimeSpan.FromSeconds(12);

    private readonly HostProcess _process;
    private readonly TimeProvider _time;

    private LogBinary(HostProcess process, SafeFileHandle stdout, SafeFileHandle stderr, TimeProvider time)
    {
        _process = process;
        _time = time;
        Stdout = stdout;
        Stderr = stderr;
    }

    /// <summary>The write ends, for the process that is to be logged; the receiver disposes them.</summary>
    internal SafeFileHandle Stdout { get; }

    internal SafeFileHandle Stderr { get; }

    internal static async Task<LogBinary> StartAsync(
        StdioEnvironment environment, StdioAddress address, (string Id, string Namespace) container)
    {
        var (outRead, outWrite) = Libc.Pipe();
        var (errRead, errWrite) = Libc.Pipe();
        var (readyRead, readyWrite) = Libc.Pipe();
        LogBinary? log = null;
        try
        {
            var process = environment.Processes.Start(new SpawnRequest(address.Path, address.Arguments)
            {
                Environment = [$"CONTAINER_ID={container.Id}", $"CONTAINER_NAMESPACE={container.Namespace}"],
                Handles = [null, null, null, outRead, errRead, readyWrite],
                NewSession = true,
            });
            readyWrite.Dispose();
            log = new LogBinary(process, outWrite, errWrite, environment.Time);
            if (!await IsReadyAsync(environment, readyRead).ConfigureAwait(false))
            {
                throw new SandboxException(SandboxError.DeadlineExceeded, $"the logging program {address.Path} was not ready within {ReadyLimit}");
            }
            return log;
        }
        catch
        {
            outWrite.Dispose();
            errWrite.Dispose();
            if (log is not null)
            {
                await log.DisposeAsync().ConfigureAwait(false);
            }
            throw;
        }
        finally
        {
            outRead.Dispose();
            errRead.Dispose();
            readyRead.Dispose();
            readyWrite.Dispose();
        }
    }

    private static async Task<bool> IsReadyAsync(StdioEnvironment environment, SafeFileHandle ready)
    {
        var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = environment.Loop.Register(ready, EventLoop.In | EventLoop.EdgeTriggered, _ => seen.TrySetResult());
        return await seen.Task.EndsWithinAsync(ReadyLimit, environment.Time).ConfigureAwait(false);
    }

    /// <summary>Asks the program to end, and ends it when it takes too long; that last wait is not the caller's.</summary>
    public ValueTask DisposeAsync()
    {
        _ = StopAsync();
        return ValueTask.CompletedTask;
    }

    private async Task StopAsync()
    {
        // By itself it ends at the end of its input; the signals are for one that does not look.
        if (!await _process.Exited.EndsWithinAsync(TimeSpan.FromSeconds(1), _time).ConfigureAwait(false))
        {
            _process.Signal(Libc.SIGTERM);
            if (!await _process.Exited.EndsWithinAsync(StopLimit, _time).ConfigureAwait(false))
            {
                _process.Signal(Libc.SIGKILL);
            }
        }
        _process.Dispose();
    }
}
