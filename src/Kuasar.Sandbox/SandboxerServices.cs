using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox;

/// <summary>What the host offers to a sandboxer.</summary>
public sealed class SandboxerServices
{
    private readonly Func<SafeHandle, IDisposable>? _hold;

    internal SandboxerServices(
        HostProcesses processes, ILoggerFactory loggerFactory, TimeProvider timeProvider, string runDirectory, Func<SafeHandle, IDisposable>? hold = null)
    {
        _hold = hold;
        Processes = processes;
        LoggerFactory = loggerFactory;
        TimeProvider = timeProvider;
        RunDirectory = runDirectory;
    }

    /// <summary>Starts, adopts and reaps processes.</summary>
    public HostProcesses Processes { get; }

    /// <summary>Loggers.</summary>
    public ILoggerFactory LoggerFactory { get; }

    /// <summary>The clock.</summary>
    public TimeProvider TimeProvider { get; }

    /// <summary>The domain's folder, mode 0700; sockets and state live below it.</summary>
    public string RunDirectory { get; }

    /// <summary>
    /// Has a connection outlive this process, for a peer that falls over a caller who dies at a bad moment: where a keeper runs, it has a copy until
    /// the result is disposed; should this process end before, the next sandboxer closes it some seconds after it has taken over. Cheap: one packet.
    /// Without a keeper nothing is held.
    /// </summary>
    /// <param name="socket">Remains the caller's.</param>
    /// <returns>The caller disposes it.</returns>
    public IDisposable? HoldConnection(SafeHandle socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        return _hold?.Invoke(socket);
    }
}
