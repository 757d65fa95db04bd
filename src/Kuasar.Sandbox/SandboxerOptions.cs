using System.Reflection;
using Kuasar.Domain;
using Kuasar.Linux;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox;

/// <summary>How a sandboxer is hosted.</summary>
public sealed class SandboxerOptions
{
    /// <summary>The domain's name, an identifier; shims of the domain must have the same. It names the default folder.</summary>
    public string Name { get; set; } = "";

    /// <summary>Where all sockets and state live; absolute, made with mode 0700. Default <c>/run/kuasar/NAME</c>, which a reboot clears, as it should.</summary>
    public string RunDirectory { get => field ?? "/run/kuasar/" + Name; set; }

    /// <summary>Told to containerd, and by upgrades; free text. By default the program's own.</summary>
    public string Version { get; set; } = (Assembly.GetEntryAssembly() ?? typeof(SandboxerOptions).Assembly).GetName().Version?.ToString(3) ?? "0";

    /// <summary>Where logs go; null: to standard error, from <see cref="LogLevel"/> up.</summary>
    public ILoggerFactory? LoggerFactory { get; set; }

    /// <summary>Only without a <see cref="LoggerFactory"/>.</summary>
    public LogLevel LogLevel { get; set; } = LogLevel.Information;

    /// <summary>The clock.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Give memory back to the system when nothing happens after a busy time.</summary>
    public bool TrimMemoryWhenIdle { get; set; } = true;

    /// <summary>
    /// With <see cref="SandboxerHost.RunProgramAsync(Func{Sandboxer}, SandboxerOptions, CancellationToken)"/>: a small process keeps sockets, exits and
    /// terminals, and the sandboxer is its child, which may die or be upgraded while containerd notices nothing.
    /// </summary>
    public bool Keeper { get; set; }

    /// <summary>Further ways by which containerds reach the sandboxer; shims always can.</summary>
    public IList<ISandboxerRoute> Routes { get; } = [];

    internal DomainPaths Validate()
    {
        if (!ContainerdId.IsValid(Name))
        {
            throw new ArgumentException($"the sandboxer's name is not an identifier: \"{Name}\"");
        }
        if (!Path.IsPathRooted(RunDirectory))
        {
            throw new ArgumentException($"the run directory is not absolute: \"{RunDirectory}\"");
        }
        var paths = new DomainPaths(RunDirectory);
        var longest = paths.TaskSocket("any", "any");
        return longest.Length <= DomainPaths.MaxSocketPath
            ? paths
            : throw new ArgumentException($"the run directory is too long for sockets below it (at most {DomainPaths.MaxSocketPath} characters): {longest}");
    }
}
