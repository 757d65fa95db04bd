using System.Collections.Concurrent;
using System.Globalization;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Processes;

/// <summary>Where children are reaped. The one place that knows whether this process or a keeper is their subreaper.</summary>
internal interface IChildReaper
{
    /// <summary>
    /// Completes with the exit status when the process ends. Asked after it was started and before anyone reaped it.
    /// Where the kernel does not tell of a process that is no child of ours, it ends with <see cref="ExitStatus.UnknownCode"/>.
    /// </summary>
    Task<ExitStatus> WatchAsync(int pid);

    /// <summary>How a process ended that was written down in an earlier life of the sandboxer and is no more.</summary>
    Task<ExitStatus> EndOfAsync(ProcessRecord process);
}

/// <summary>Reaps by pidfd, pid by pid: <c>waitpid(-1)</c> would steal the children of <see cref="System.Diagnostics.Process"/>.</summary>
internal sealed partial class ChildReaper : IChildReaper, IDisposable
{
    private static readonly TimeSpan SweepPeriod = TimeSpan.FromSeconds(5);

    private readonly EventLoop _loop;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ConcurrentDictionary<int, Watched> _watched = new();
    private readonly ITimer _sweep;
    private HashSet<int> _suspects = [];

    internal ChildReaper(EventLoop loop, TimeProvider time, ILogger logger)
    {
        _loop = loop;
        _time = time;
        _logger = logger;
        Libc.BecomeSubreaper();
        // What our own parent left open to us is not for containers.
        Libc.CloseAllOnExec();
        _sweep = time.CreateTimer(_ => SweepOrphans(), null, SweepPeriod, SweepPeriod);
    }

    public Task<ExitStatus> WatchAsync(int pid)
    {
        if (_watched.TryGetValue(pid, out var known))
        {
            // Not reaped yet, which the lock makes sure of, so the pid cannot be anybody else's.
            lock (known)
            {
                if (!known.Exited.Task.IsCompleted)
                {
                    return known.Exited.Task;
                }
            }
        }
        var pidfd = Libc.OpenProcess(pid);
        if (pidfd is null)
        {
            return Task.FromResult(new ExitStatus(ExitStatus.UnknownCode, _time.GetUtcNow()));
        }
        var watched = new Watched(pidfd);
        _watched[pid] = watched;
        try
        {
            // The callback may run before Register returns; Reap unregisters through the field, under the lock.
            lock (watched)
            {
                watched.Registration = _loop.Register(pidfd, EventLoop.In, _ => Reap(pid, watched));
            }
        }
        catch
        {
            _watched.TryRemove(new(pid, watched));
            pidfd.Dispose();
            throw;
        }
        return watched.Exited.Task;
    }

    /// <summary>Nobody of this process has seen it.</summary>
    public Task<ExitStatus> EndOfAsync(ProcessRecord process) => Task.FromResult(new ExitStatus(ExitStatus.UnknownCode, _time.GetUtcNow()));

    private void Reap(int pid, Watched watched)
    {
        lock (watched)
        {
            if (watched.Exited.Task.IsCompleted || Libc.TryReap(watched.Pidfd) is not { } status)
            {
                return;
            }
            var code = status == Libc.NotOurs ? Libc.TryReadExit(watched.Pidfd, pid) : status;
            _watched.TryRemove(new(pid, watched));
            watched.Registration!.Dispose();
            watched.Pidfd.Dispose();
            watched.Exited.SetResult(new ExitStatus((uint?)code ?? ExitStatus.UnknownCode, _time.GetUtcNow()));
        }
    }

    /// <summary>
    /// Orphans of containers without a pid namespace fall to us as the subreaper, and nobody watches them. One that is still dead
    /// after a whole period is nobody's: whoever started it would have watched or reaped it by then.
    /// </summary>
    private void SweepOrphans()
    {
        if (Libc.PeekDeadChild() <= 0)
        {
            _suspects.Clear();
            return;
        }
        var dead = DeadChildren();
        dead.ExceptWith(_watched.Keys);
        foreach (var pid in dead.Where(_suspects.Contains))
        {
            Libc.TryReap(pid);
            OrphanReaped(_logger, pid);
        }
        _suspects = dead;
    }

    private static HashSet<int> DeadChildren()
    {
        HashSet<int> result = [];
        foreach (var task in Directory.EnumerateDirectories("/proc/self/task"))
        {
            foreach (var word in Procfs.Words($"{task}/children"))
            {
                if (int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var pid) && Procfs.IsZombie(pid))
                {
                    result.Add(pid);
                }
            }
        }
        return result;
    }

    public void Dispose()
    {
        _sweep.Dispose();
        foreach (var (pid, watched) in _watched)
        {
            lock (watched)
            {
                watched.Registration?.Dispose();
                watched.Pidfd.Dispose();
                watched.Exited.TrySetCanceled();
            }
            _watched.TryRemove(pid, out _);
        }
    }

    private sealed class Watched(SafeFileHandle pidfd)
    {
        internal SafeFileHandle Pidfd => pidfd;

        internal EventLoop.Registration? Registration { get; set; }

        internal TaskCompletionSource<ExitStatus> Exited { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    [LoggerMessage(EventId = 110, Level = LogLevel.Debug, Message = "Reaped orphan {Pid}")]
    private static partial void OrphanReaped(ILogger logger, int pid);
}
