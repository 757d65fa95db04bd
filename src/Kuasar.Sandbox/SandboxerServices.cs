using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox;

/// <summary>What the host offers to a sandboxer.</summary>
public sealed class SandboxerServices
{
    internal SandboxerServices(HostProcesses processes, ILoggerFactory loggerFactory, TimeProvider timeProvider, string runDirectory)
    {
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
}
