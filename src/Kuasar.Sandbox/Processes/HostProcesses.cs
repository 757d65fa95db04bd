using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <summary>
/// Starts and adopts processes of this host. Every child of a sandboxer must come through here: exits are reaped in one place.
/// Thread-safe; owned by the host.
/// </summary>
public sealed class HostProcesses
{
    private readonly Processes.IChildReaper _reaper;

    internal HostProcesses(Processes.IChildReaper reaper) => _reaper = reaper;

    /// <summary>
    /// Takes over a process that is already there, usually one that an OCI runtime made and left to us, its subreaper.
    /// Once a pid. The caller disposes the result when it no longer needs to signal it; the exit is reaped all the same.
    /// </summary>
    /// <exception cref="SandboxException">There is no such process.</exception>
    public HostProcess Adopt(int processId) => Adopt(processId, null);

    internal HostProcess Adopt(int processId, string? pidFile)
    {
        if (Libc.OpenProcess(processId) is { } pidfd)
        {
            return new HostProcess(processId, pidfd, _reaper.WatchAsync(processId), _reaper) { PidFile = pidFile };
        }
        return _reaper.EndOfGone(processId) is { } end
            ? new HostProcess(processId, Nothing, end, _reaper) { PidFile = pidFile }
            : throw new SandboxException(SandboxError.NotFound, $"process {processId} is gone");
    }

    /// <summary>
    /// What an earlier life of the sandboxer has recorded with <see cref="SandboxSpec.RecordProcess"/>, in that order: alive, or with how it
    /// ended. For <see cref="Sandboxer.RecoverSandboxAsync"/>, whose to dispose they are.
    /// </summary>
    public IReadOnlyList<HostProcess> Recover(SandboxSpec sandbox)
    {
        ArgumentNullException.ThrowIfNull(sandbox);
        return [.. (sandbox.Folder?.Processes ?? []).Select(Recover)];
    }

    /// <summary>
    /// A process of an earlier life of the sandboxer: alive, or one whose end has been seen. Never a stranger that has its pid now.
    /// </summary>
    internal HostProcess Recover(ProcessRecord record) => ProcessIdentity.Open(record) is { } pidfd
        ? new HostProcess(record.Pid, pidfd, _reaper.WatchAsync(record.Pid), _reaper)
        : new HostProcess(record.Pid, Nothing, _reaper.EndOfAsync(record), _reaper);

    /// <summary>The pidfd of a process that is no more.</summary>
    private static SafeFileHandle Nothing => new(-1, ownsHandle: false);

    /// <summary>Starts a program in a session of its own, with nothing inherited but the three handles (null: /dev/null).</summary>
    /// <param name="path">Absolute path of the program.</param>
    /// <param name="arguments">Its arguments, without its name.</param>
    /// <param name="stdin">Its standard input; stays the caller's.</param>
    /// <param name="stdout">Its standard output; stays the caller's.</param>
    /// <param name="stderr">Its standard error; stays the caller's.</param>
    /// <param name="workingDirectory">Null: that of this process.</param>
    /// <exception cref="SandboxException">It could not be started.</exception>
    public HostProcess Start(
        string path,
        IReadOnlyList<string> arguments,
        SafeFileHandle? stdin = null,
        SafeFileHandle? stdout = null,
        SafeFileHandle? stderr = null,
        string? workingDirectory = null) =>
        Start(new SpawnRequest(path, arguments)
        {
            Handles = [stdin, stdout, stderr],
            WorkingDirectory = workingDirectory,
            NewSession = true,
        });

    internal HostProcess Start(SpawnRequest request)
    {
        try
        {
            return Adopt(Libc.Spawn(request));
        }
        catch (LinuxException e)
        {
            throw new SandboxException(e.Errno == Libc.ENOENT ? SandboxError.NotFound : SandboxError.Unknown, e.Message, e);
        }
    }
}
