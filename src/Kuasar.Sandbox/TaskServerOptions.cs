using System.Reflection;
using Kuasar.Domain;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox;

/// <summary>How a <see cref="TaskServer"/> serves.</summary>
public sealed class TaskServerOptions
{
    /// <summary>Where state lives; absolute, made with mode 0700. In a guest a tmpfs: nothing is taken over from an earlier life.</summary>
    public required string RunDirectory { get; init; }

    /// <summary>The containerd namespace of requests that name none.</summary>
    public string Namespace { get; init; } = "default";

    /// <summary>Told to whoever connects; free text. By default the program's own.</summary>
    public string Version { get; init; } = (Assembly.GetEntryAssembly() ?? typeof(TaskServerOptions).Assembly).GetName().Version?.ToString(3) ?? "0";

    /// <summary>Where logs go; null: to standard error, from <see cref="LogLevel"/> up.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>Only without a <see cref="LoggerFactory"/>.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Information;

    /// <summary>The clock.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>
    /// Called at <c>Task.Shutdown</c>, which otherwise means nothing. It must return at once, so that the answer goes out; what it begins is the
    /// caller's to end.
    /// </summary>
    public Action? ShutdownAsked { get; init; }

    internal DomainPaths Validate() => Path.IsPathRooted(RunDirectory)
        ? new DomainPaths(RunDirectory)
        : throw new ArgumentException($"the run directory is not absolute: \"{RunDirectory}\"");
}
