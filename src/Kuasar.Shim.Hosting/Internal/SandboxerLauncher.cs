using Kuasar.Domain;
using Kuasar.Linux;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary>Starts the sandboxer of the domain when none runs and the settings name one; once, however many shims start at a time.</summary>
internal static class SandboxerLauncher
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    // What containerd tells one shim about itself; a resident process would take it for its own.
    private static readonly string[] ShimOnly =
        ["TTRPC_ADDRESS=", "GRPC_ADDRESS=", "NAMESPACE=", "MAX_SHIM_VERSION=", "GOMAXPROCS=", "SCHED_CORE=", "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID="];

    /// <summary>A connection to the sandboxer that runs, or to the one that this starts.</summary>
    /// <exception cref="ShimException">There is none, and none could be started.</exception>
    internal static SandboxerConnection Open(ShimSettings settings)
    {
        var timeout = settings.Options.AnswerTimeout;
        if (settings.SandboxerPath is not { Length: > 0 } program)
        {
            return SandboxerConnection.Open(settings, timeout);
        }
        return SandboxerConnection.TryOpen(settings, timeout) ?? Launch(settings, program, timeout);
    }

    private static SandboxerConnection Launch(ShimSettings settings, string program, TimeSpan timeout)
    {
        var deadline = Deadline.After(settings.Options.SandboxerStartTimeout);
        Libc.CreateFolders(settings.Paths.Run, DomainPaths.FolderMode);
        using var gate = Libc.Open(Path.Combine(settings.Paths.Run, "start.lock"), Libc.O_RDWR | Libc.O_CREAT, DomainPaths.FileMode);
        while (!Libc.TryLock(gate))
        {
            if (deadline.IsOver)
            {
                throw new ShimException($"another shim has been starting {program} for {settings.Options.SandboxerStartTimeout.TotalSeconds} s");
            }
            Thread.Sleep(Pause);
        }
        // Whoever held the lock may have started it.
        if (SandboxerConnection.TryOpen(settings, timeout) is { } running)
        {
            return running;
        }

        var log = Path.Combine(settings.Paths.Run, "sandboxer.log");
        var pid = Spawn(settings, program, log);
        while (true)
        {
            if (SandboxerConnection.TryOpen(settings, timeout) is { } started)
            {
                return started;
            }
            if (Libc.TryReap(pid) is { } status)
            {
                throw new ShimException($"{program} ended with status {status} before it listened on {settings.Paths.ControlSocket}; see {log}");
            }
            if (deadline.IsOver)
            {
                // Not reaped, so the pid is still its own. The next shim would start a second one beside it.
                Libc.Kill(pid, Libc.SIGKILL);
                throw new ShimException($"{program} did not listen on {settings.Paths.ControlSocket} within {settings.Options.SandboxerStartTimeout.TotalSeconds} s; see {log}");
            }
            Thread.Sleep(Pause);
        }
    }

    private static int Spawn(ShimSettings settings, string program, string log)
    {
        using var output = Libc.Open(log, Libc.O_WRONLY | Libc.O_APPEND | Libc.O_CREAT | Libc.O_NOFOLLOW, DomainPaths.FileMode);
        // containerd reads a shim's output to its end: one inherited fd and `start` hangs for as long as the sandboxer lives.
        Libc.CloseAllOnExec();
        return Libc.Spawn(new SpawnRequest(program, settings.SandboxerArguments)
        {
            Environment = ResidentEnvironment(),
            WorkingDirectory = "/",
            Handles = [null, output, output],
            NewSession = true,
        });
    }

    private static List<string> ResidentEnvironment()
    {
        var result = new List<string>();
        foreach (System.Collections.DictionaryEntry entry in Environment.GetEnvironmentVariables())
        {
            var pair = $"{entry.Key}={entry.Value}";
            if (!Array.Exists(ShimOnly, name => pair.StartsWith(name, StringComparison.Ordinal)))
            {
                result.Add(pair);
            }
        }
        return result;
    }
}
