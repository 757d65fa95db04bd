using Kuasar.Linux;

namespace Kuasar.Sandbox;

public sealed partial class OciRuntime
{
    /// <summary>
    /// Ends an exec whose start an earlier life of the sandboxer has begun and of which it has recorded no process: where the runtime got so
    /// far as to make one, it is in the container's cgroup.
    /// </summary>
    internal static void EndExec(string workDirectory, string execId, Cgroup? cgroup)
    {
        if (TryReadPid(ExecPidFile(workDirectory, execId)) is { } pid && cgroup?.GetProcessIds().Contains(pid) == true)
        {
            Libc.Kill(pid, Libc.SIGKILL);
        }
    }

    /// <summary>
    /// Removes what calls have left in a container's folder that an earlier life of the sandboxer has begun, when all have ended and their
    /// processes are known.
    /// </summary>
    internal static void RemoveTemporaries(string workDirectory)
    {
        foreach (var file in ((string[])["log-*", "exec-*", "resources-*", "exec.*.pid"]).SelectMany(pattern => Directory.GetFiles(workDirectory, pattern)))
        {
            Libc.TryRemoveFile(file);
        }
    }

    private static string ExecPidFile(string workDirectory, string execId) => System.IO.Path.Combine(workDirectory, $"exec.{execId}.pid");
}
