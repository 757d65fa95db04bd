using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <summary>A process of this host, held by pidfd: a signal reaches this process or nobody. Made by <see cref="HostProcesses"/>.</summary>
public sealed class HostProcess : ContainerProcess, IDisposable
{
    private readonly SafeFileHandle _pidfd;
    private readonly Processes.IChildReaper _reaper;

    internal HostProcess(int processId, SafeFileHandle pidfd, Task<ExitStatus> exited, Processes.IChildReaper reaper)
    {
        _reaper = reaper;
        ProcessId = processId;
        Exited = exited;
        _pidfd = pidfd;
    }

    /// <summary>A file that was kept for the process; it goes with this.</summary>
    internal string? PidFile { get; init; }

    /// <inheritdoc/>
    public override int ProcessId { get; }

    /// <inheritdoc/>
    public override Task<ExitStatus> Exited { get; }

    /// <summary>Sends a signal; false when the process has ended.</summary>
    public bool Signal(int signal)
    {
        try
        {
            // A zombie still takes signals; to us it has ended.
            return !Exited.IsCompleted && Libc.SendSignal(_pidfd, signal);
        }
        catch (ObjectDisposedException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public override Task SignalAsync(int signal, CancellationToken cancellationToken) =>
        Signal(signal) ? Task.CompletedTask : throw new SandboxException(SandboxError.NotFound, $"process {ProcessId} has finished");

    /// <inheritdoc/>
    public override Task DeleteAsync(CancellationToken cancellationToken)
    {
        Dispose();
        return Task.CompletedTask;
    }

    /// <summary>Lets go of the pidfd, and of the end of a process that has ended; one that lives is left alone.</summary>
    public void Dispose()
    {
        _pidfd.Dispose();
        if (Exited.IsCompleted)
        {
            _reaper.Release(ProcessId);
        }
        if (PidFile is { } file)
        {
            Libc.TryRemoveFile(file);
        }
    }
}
