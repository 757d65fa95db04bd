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

    /// <summary>
    /// How a process ended whose pid we were told of a moment ago and that is no more; null when nobody keeps ends. An orphan may be reaped
    /// by a keeper before we hear of its pid.
    /// </summary>
    Task<ExitStatus>? EndOfGone(int pid);

    /// <summary>The end of the process is written down, or is of no interest: it need not be kept.</summary>
    void Release(int pid);
}

/// <summary>Who reaps what is orphaned, where this process is not the subreaper. Thread-safe.</summary>
internal interface IExitSource
{
    /// <summary>The end of this process is to be kept until it is released.</summary>
    void Watch(int pid, ulong start);

    /// <summary>How a process ended that is no more; <see cref="ExitStatus.UnknownCode"/> when nobody knows.</summary>
    /// <param name="pid">Its pid.</param>
    /// <param name="start">Its start time; 0 for whoever had the pid last.</param>
    Task<ExitStatus> EndOfAsync(int pid, ulong start);

    void Release(int pid, ulong start);
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
    private readonly IExitSource? _orphans;
    private readonly ConcurrentDictionary<int, ulong> _starts = new();
    private HashSet<int> _suspects = [];

    /// <param name="loop">Where exits are heard.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">The log.</param>
    /// <param name="orphans">Who reaps what is no child of ours; null: we are the subreaper.</param>
    internal ChildReaper(EventLoop loop, TimeProvider time, ILogger logger, IExitSource? orphans = null)
    {
        _orphans = orphans;
        _loop = loop;
        _time = time;
        _logger = logger;
        if (orphans is null)
        {
            Libc.BecomeSubreaper();
        }
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
            return EndOfGone(pid) ?? Task.FromResult(new ExitStatus(ExitStatus.UnknownCode, _time.GetUtcNow()));
        }
        if (_orphans is not null && ProcessIdentity.Of(pid) is { } identity)
        {
            _starts[pid] = identity.StartTime;
            _orphans.Watch(pid, identity.StartTime);
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

    public Task<ExitStatus> EndOfAsync(ProcessRecord process)
    {
        // The number of another boot says nothing.
        if (_orphans is null || process.BootId != ProcessIdentity.Of(Environment.ProcessId)!.BootId)
        {
            return Task.FromResult(new ExitStatus(ExitStatus.UnknownCode, _time.GetUtcNow()));
        }
        _starts[process.Pid] = process.StartTime;
        _orphans.Watch(process.Pid, process.StartTime);
        return _orphans.EndOfAsync(process.Pid, process.StartTime);
    }

    public Task<ExitStatus>? EndOfGone(int pid) => _orphans?.EndOfAsync(pid, start: 0);

    public void Release(int pid)
    {
        if (_starts.TryRemove(pid, out var start))
        {
            _orphans?.Release(pid, start);
        }
    }

    private void Reap(int pid, Watched watched)
    {
        lock (watched)
        {
            if (watched.Exited.Task.IsCompleted || Libc.TryReap(watched.Pidfd) is not { } status)
            {
                return;
            }
            // Of an orphan of a keeper that was killed only the kernel may know, and only for a moment: it is asked first.
            var code = status == Libc.NotOurs ? Libc.TryReadExit(watched.Pidfd, pid) : status;
            _watched.TryRemove(new(pid, watched));
            watched.Registration!.Dispose();
            watched.Pidfd.Dispose();
            if (status == Libc.NotOurs && _orphans is not null)
            {
                // A keeper has ends with their times, but none of those that an earlier keeper had.
                _ = TellAsync(watched, _orphans.EndOfAsync(pid, _starts.GetValueOrDefault(pid)), code);
                return;
            }
            watched.Exited.SetResult(new ExitStatus((uint?)code ?? ExitStatus.UnknownCode, _time.GetUtcNow()));
        }
    }

    private static async Task TellAsync(Watched watched, Task<ExitStatus> asked, int? code)
    {
        var end = await asked.ConfigureAwait(false);
        watched.Exited.TrySetResult(end.Code == ExitStatus.UnknownCode && code is { } known ? end with { Code = (uint)known } : end);
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
