using System.Globalization;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Recovery;

/// <summary>
/// Calls of OCI runtimes that an earlier life of the sandboxer has begun and that still run: they run on by themselves, in the folder of
/// their task. What they do is not known before they have ended, so whoever takes the task over, or undoes it, waits for that.
/// </summary>
internal sealed partial class UnfinishedCalls
{
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(20);

    private readonly Dictionary<string, List<int>> _byFolder = new(StringComparer.Ordinal);
    private readonly TimeSpan _limit;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;

    /// <summary>Looks once, when nobody can begin another.</summary>
    /// <param name="tasks">The folder of all tasks.</param>
    /// <param name="limit">What takes longer is killed.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">For what is killed.</param>
    internal UnfinishedCalls(string tasks, TimeSpan limit, TimeProvider time, ILogger logger)
    {
        (_limit, _time, _logger) = (limit, time, logger);
        var within = tasks + "/";
        var ownMounts = LinkOf("/proc/self/ns/mnt");
        foreach (var process in Directory.EnumerateDirectories("/proc"))
        {
            // What is in a container has mounts of its own, and a path there means another folder.
            if (int.TryParse(Path.GetFileName(process.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                && LinkOf(process + "/cwd") is { } folder && folder.StartsWith(within, StringComparison.Ordinal)
                && LinkOf(process + "/ns/mnt") == ownMounts && pid != Environment.ProcessId)
            {
                (_byFolder.TryGetValue(folder, out var pids) ? pids : _byFolder[folder] = []).Add(pid);
            }
        }
    }

    /// <summary>Completes when the calls in this folder have ended, at the limit by force.</summary>
    /// <param name="folder">The task's.</param>
    /// <param name="runtime">Its OCI runtime; what else runs there, such as its own processes, is not ours to wait for.</param>
    internal async Task EndAsync(string folder, string runtime)
    {
        foreach (var pid in _byFolder.GetValueOrDefault(folder) ?? [])
        {
            var deadline = _time.GetTimestamp() + (long)(_limit.TotalSeconds * _time.TimestampFrequency);
            while (Runs(pid, folder, runtime))
            {
                if (_time.GetTimestamp() > deadline)
                {
                    Killed(_logger, pid, folder);
                    Libc.Kill(pid, Libc.SIGKILL);
                    break;
                }
                await Task.Delay(Slice, _time).ConfigureAwait(false);
            }
        }
    }

    // A dead process has no folder, and one that has its pid now has another. A script is its interpreter's first argument.
    private static bool Runs(int pid, string folder, string runtime)
    {
        var process = $"/proc/{pid.ToString(CultureInfo.InvariantCulture)}";
        return LinkOf(process + "/cwd") == folder && Procfs.Arguments(process).Take(2).Contains(runtime);
    }

    private static string? LinkOf(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    [LoggerMessage(EventId = 523, Level = LogLevel.Warning, Message = "Process {Pid}, a call of an OCI runtime in {Folder}, does not end; it was killed")]
    private static partial void Killed(ILogger logger, int pid, string folder);
}
