using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol;

/// <summary>How <see cref="UnixConnectionSource.Bind"/> listens.</summary>
public sealed record UnixSocketOptions
{
    /// <summary>Connections the kernel holds until they are accepted. Default 512.</summary>
    public int Backlog { get; init; } = 512;

    /// <summary>Mode of the socket file, set before anybody can connect. Default 0600.</summary>
    public UnixFileMode FileMode { get; init; } = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Mode of the folders that are made for the socket; existing ones are left alone. Default 0700.</summary>
    public UnixFileMode FolderMode { get; init; } =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>Who may connect. Default <see cref="PeerPolicy.SameUser"/>: our user and our group.</summary>
    public PeerPolicy PeerPolicy { get; init; } = PeerPolicy.SameUser;

    /// <summary>Pause after the system could not accept (no file descriptors). Default 100 ms.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Clock of that pause.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Null logs nothing.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
