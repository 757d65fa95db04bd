using Microsoft.Extensions.Logging;

namespace GuestAgent.Boot;

/// <summary>What the host tells by the kernel's command line. The names beginning with <c>task.</c> are those of Kuasar's vmm-task.</summary>
/// <param name="LogLevel"><c>task.log_level=</c> trace, debug, info, warn or error; <c>task.debug</c> alone is debug.</param>
/// <param name="ShareType"><c>task.sharefs_type=</c> virtiofs, 9p or none.</param>
/// <param name="ReadyPort"><c>kuasar.ready_port=</c>: where the host waits to hear that the agent serves; 0: it does not.</param>
internal sealed record KernelCommandLine(LogLevel LogLevel, string ShareType, uint ReadyPort)
{
    internal static KernelCommandLine Read() => Parse(File.ReadAllText("/proc/cmdline"));

    internal static KernelCommandLine Parse(string text)
    {
        var result = new KernelCommandLine(LogLevel.Information, "virtiofs", 1026);
        foreach (var word in text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            var split = word.IndexOf('=', StringComparison.Ordinal);
            var (name, value) = split < 0 ? (word, "") : (word[..split], word[(split + 1)..]);
            result = name switch
            {
                "task.debug" => result with { LogLevel = LogLevel.Debug },
                "task.log_level" => result with { LogLevel = LevelOf(value) ?? result.LogLevel },
                "task.sharefs_type" => result with { ShareType = value },
                "kuasar.ready_port" when uint.TryParse(value, out var port) => result with { ReadyPort = port },
                _ => result,
            };
        }
        return result;
    }

    internal static LogLevel? LevelOf(string name) => name switch
    {
        "trace" => LogLevel.Trace,
        "debug" => LogLevel.Debug,
        "info" => LogLevel.Information,
        "warn" => LogLevel.Warning,
        "error" => LogLevel.Error,
        _ => null,
    };
}
