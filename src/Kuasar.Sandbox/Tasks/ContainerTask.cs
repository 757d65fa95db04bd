using System.Collections.Concurrent;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Extensions.Logging;
using CreateTaskRequest = Kuasar.Protocol.Contracts.TaskV3.CreateTaskRequest;
using RecordState = Kuasar.Protocol.Contracts.Control.TaskRecord.Types.State;

namespace Kuasar.Sandbox.Tasks;

/// <summary>
/// One containerd task: a container, its init and its execs. All sandbox types share this life cycle; what differs is behind
/// <see cref="Container"/>. This file: starting and stopping. <c>ContainerTask.Calls.cs</c>: the calls that change no state of ours.
/// </summary>
internal sealed partial class ContainerTask
{
    private const int Kill = 9;

    /// <summary>How long the end of init may be held back by execs that have not ended yet.</summary>
    private static readonly TimeSpan ExecsLimit = TimeSpan.FromSeconds(10);

    private readonly TaskContext _context;
    private readonly ConcurrentDictionary<string, ManagedProcess> _execs = new(StringComparer.Ordinal);
    private readonly TaskResources _resources;
    private readonly ContainerSpec _spec;
    private readonly Container _container;
    private readonly ManagedProcess _init;
    private readonly OomReporter _oom;
    private volatile bool _initGone;
    private volatile bool _deleting;
    private bool _neverStarted;

    internal ContainerTask(TaskContext context, TaskKey key, TaskResources resources, ContainerSpec spec, Container container, ManagedProcess init)
        : this(context, key, resources, spec, container, init, [], null)
    {
    }

    /// <summary>One of an earlier life of the sandboxer: its processes are in the states in which they were found.</summary>
    /// <param name="context">What the tasks of one containerd share.</param>
    /// <param name="key">Its own.</param>
    /// <param name="resources">What it holds.</param>
    /// <param name="spec">What the author is told.</param>
    /// <param name="container">As the author has taken it over.</param>
    /// <param name="init">Attached.</param>
    /// <param name="execs">Those that run are attached.</param>
    /// <param name="exit">How init ended, where that was seen before.</param>
    internal ContainerTask(
        TaskContext context, TaskKey key, TaskResources resources, ContainerSpec spec, Container container, ManagedProcess init,
        IReadOnlyList<ManagedProcess> execs, ExitStatus? exit)
    {
        _context = context;
        Key = key;
        _resources = resources;
        _spec = spec;
        _container = container;
        _init = init;
        _oom = new OomReporter(context, key, container.Cgroup, resources);
        foreach (var exec in execs)
        {
            _execs[exec.ExecId] = exec;
            if (exec.State == ProcessState.Running)
            {
                _ = WatchExecAsync(exec, exec.Process!);
            }
        }
        if (init.State is ProcessState.Running or ProcessState.Paused)
        {
            _oom.Watch();
        }
        Watched = WatchInitAsync(exit);
    }

    internal TaskKey Key { get; }

    internal ManagedProcess Init => _init;

    internal string Bundle => _spec.Bundle;

    /// <summary>Whether it is what this request asks for, and nothing has been done with it since.</summary>
    internal bool IsMadeBy(CreateTaskRequest request) => _init.State == ProcessState.Created && !_initGone && !_deleting &&
        Path.TrimEndingDirectorySeparator(request.Bundle) == Bundle &&
        _init.Addresses == new StdioAddresses(request.Stdin, request.Stdout, request.Stderr, request.Terminal);

    /// <summary>Ends when the end of init has been seen and told.</summary>
    internal Task Watched { get; }

    /// <summary>Init for an empty id, else that exec.</summary>
    internal ManagedProcess Find(string execId) =>
        execId.Length == 0 ? _init
        : _execs.TryGetValue(execId, out var exec) ? exec
        : throw new SandboxException(SandboxError.NotFound, $"no exec {execId} in task {Key}");

    internal async Task<int> StartAsync(string execId)
    {
        var process = Find(execId);
        using var turn = await process.Lane.EnterAsync().ConfigureAwait(false);
        if (process.State != ProcessState.Created)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"cannot start a process that is {Name(process)}");
        }
        if (_initGone || _deleting)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"container {Key.Id} init process is not running");
        }
        if (process == _init)
        {
            _oom.Watch();
            _resources.Note(record => record.State = RecordState.Starting);
            await _container.StartAsync(CancellationToken.None).ConfigureAwait(false);
            process.State = ProcessState.Running;
            _resources.NoteOutcome(record => record.State = RecordState.Running);
            _context.Events.TaskStarted(Key, process.ProcessId);
        }
        else
        {
            await StartExecAsync(process).ConfigureAwait(false);
        }
        return process.ProcessId;
    }

    private async Task StartExecAsync(ManagedProcess exec)
    {
        try
        {
            _resources.NoteExec(exec.ExecId, record => record.State = RecordState.Starting);
            exec.Stdio = await ProcessStdio.OpenAsync(_context.Stdio, exec.Addresses, StdioName(Key, exec.ExecId), (Key.Id, Key.Namespace))
                .ConfigureAwait(false);
            var spec = new ExecSpec
            {
                Id = exec.ExecId,
                Process = exec.Spec,
                WorkDirectory = _spec.WorkDirectory,
                Stdio = exec.Stdio,
            };
            exec.Attach(await _container.StartExecAsync(spec, CancellationToken.None).ConfigureAwait(false));
            _resources.NoteExec(exec.ExecId, record => (record.State, record.Started) = (
                RecordState.Running, _container.IsRemote ? new ProcessRecord { Pid = exec.ProcessId } : Linux.ProcessIdentity.OfStarted(exec.ProcessId)));
            await exec.Stdio.AttachAsync(_container.IsRemote, exec.Process!.Exited, CancellationToken.None).ConfigureAwait(false);
        }
        catch
        {
            // It can only be deleted now, and nobody may wait for it.
            if (exec.Process is { } process)
            {
                await CleanUp.TryAsync(() => process.SignalAsync(Kill, CancellationToken.None)).ConfigureAwait(false);
            }
            if (exec.Stdio is { } stdio)
            {
                // The client sees the end of its streams at once.
                await CleanUp.TryAsync(() => stdio.DisposeAsync().AsTask()).ConfigureAwait(false);
            }
            var unknown = new ExitStatus(ExitStatus.UnknownCode, _context.Time.GetUtcNow());
            exec.Stop(unknown);
            // Nobody was told that it ran.
            _resources.NoteExit(exec.ExecId, unknown);
            _resources.NoteExitTold(exec.ExecId);
            throw;
        }
        exec.State = ProcessState.Running;
        _context.Events.ExecStarted(Key, exec.ExecId, exec.ProcessId);
        _ = WatchExecAsync(exec, exec.Process!);
    }

    private async Task WatchExecAsync(ManagedProcess exec, ContainerProcess process)
    {
        if (await EndOfAsync(process).ConfigureAwait(false) is not { } status)
        {
            return;
        }
        using var turn = await exec.Lane.EnterAsync().ConfigureAwait(false);
        Ended(exec, status);
    }

    /// <summary>How it ended; null when the host lets go of it, as it does of everything when it stops.</summary>
    private async Task<ExitStatus?> EndOfAsync(ContainerProcess process)
    {
        try
        {
            return await process.Exited.ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
#pragma warning disable CA1031 // nobody else would tell containerd that it is over
        catch (Exception e)
#pragma warning restore CA1031
        {
            EndUnknown(_context.Logger, e, Key);
            return new ExitStatus(ExitStatus.UnknownCode, _context.Time.GetUtcNow());
        }
    }

    /// <summary>On the lane: tells the end, once, and never after the deletion was told.</summary>
    private void Ended(ManagedProcess process, ExitStatus status)
    {
        if (process.State != ProcessState.Deleted && !process.Exit.IsCompleted)
        {
            _resources.NoteExit(process.ExecId, status);
            _context.Events.Exited(Key, process.ExecId, process.ProcessId, status, () => _resources.NoteExitTold(process.ExecId));
        }
        process.Stop(status);
    }

    private async Task WatchInitAsync(ExitStatus? known)
    {
        if ((known ?? await EndOfAsync(_container).ConfigureAwait(false)) is not { } status)
        {
            return;
        }
        _initGone = true;
        await CleanUp.TryAsync(
            () => _container.OutlivesInit ? _container.SignalAllAsync(Kill, CancellationToken.None) : Task.CompletedTask).ConfigureAwait(false);
        await Task.WhenAll(_execs.Values.Select(SettledAsync)).EndsWithinAsync(ExecsLimit, _context.Time).ConfigureAwait(false);

        using var turn = await _init.Lane.EnterAsync().ConfigureAwait(false);
        _oom.Stop();
        if (_deleting && _neverStarted)
        {
            _init.Stop(status);
        }
        else
        {
            Ended(_init, status);
        }
    }

    /// <summary>Completes when the exec has ended and that was told, or when it never ran.</summary>
    private static async Task SettledAsync(ManagedProcess exec)
    {
        using (await exec.Lane.EnterAsync().ConfigureAwait(false))
        {
            if (exec.State != ProcessState.Running)
            {
                return;
            }
        }
        await exec.Exit.ConfigureAwait(false);
    }

    /// <summary>Deletes an exec.</summary>
    internal async Task<(int ProcessId, ExitStatus? Exit)> DeleteExecAsync(string execId)
    {
        var exec = Find(execId);
        using var turn = await exec.Lane.EnterAsync().ConfigureAwait(false);
        switch (exec.State)
        {
            case ProcessState.Running:
                throw new SandboxException(SandboxError.FailedPrecondition, $"exec {execId} of task {Key} is running");
            case ProcessState.Deleted:
                throw new SandboxException(SandboxError.NotFound, $"no exec {execId} in task {Key}");
        }
        await exec.CloseAsync().ConfigureAwait(false);
        ExitStatus? exit = exec.State == ProcessState.Stopped ? exec.Exit.Result : null;
        exec.Forget(_context.Time.GetUtcNow());
        _resources.NoteOutcome(record =>
        {
            if (TaskResources.ExecOf(record, execId) is { } gone)
            {
                record.Execs.Remove(gone);
            }
        });
        _execs.TryRemove(new(execId, exec));
        return (exec.ProcessId, exit);
    }

    /// <summary>
    /// Deletes the task; with force also one that runs. The registry forgets it afterwards. Where a step fails the task is not deleted,
    /// and the next Delete goes on from there.
    /// </summary>
    internal async Task<(int ProcessId, ExitStatus? Exit)> DeleteAsync(bool force)
    {
        if (force && _init.State is not (ProcessState.Stopped or ProcessState.Deleted))
        {
            // Before the lane: whoever holds it may be waiting for this very process.
            await EndAsync().ConfigureAwait(false);
        }
        using var turn = await _init.Lane.EnterAsync().ConfigureAwait(false);
        switch (_init.State)
        {
            case ProcessState.Deleted:
                throw new SandboxException(SandboxError.NotFound, $"no task {Key}");
            case ProcessState.Running or ProcessState.Paused when !force:
                throw new SandboxException(SandboxError.FailedPrecondition, $"task {Key} is {Name(_init)}");
        }
        _neverStarted |= _init.State == ProcessState.Created;
        _deleting = true;
        _resources.NoteOutcome(record => record.State = RecordState.Deleting);
        // The container first: it is what ends execs that still run.
        await _init.CloseAsync().ConfigureAwait(false);
        foreach (var exec in _execs.Values)
        {
            using var execTurn = await exec.Lane.EnterAsync().ConfigureAwait(false);
            await exec.CloseAsync().ConfigureAwait(false);
            if (exec.State == ProcessState.Running)
            {
                Ended(exec, LastStatus(exec.Process!));
            }
            exec.Forget(_context.Time.GetUtcNow());
        }
        _oom.Stop();
        if (!_neverStarted)
        {
            Ended(_init, LastStatus(_container));
        }
        await _resources.ReleaseAsync().ConfigureAwait(false);
        ExitStatus? exit = _neverStarted ? null : _init.Exit.Result;
        _init.Forget(_context.Time.GetUtcNow());
        _context.Events.Deleted(Key, _init.ProcessId, exit);
        return (_init.ProcessId, exit);
    }

    /// <summary>Of a process that was ended by force.</summary>
    private ExitStatus LastStatus(ContainerProcess process) =>
        process.Exited.IsCompletedSuccessfully ? process.Exited.Result : new(ExitStatus.KilledCode, _context.Time.GetUtcNow());

    /// <summary>SIGKILL, and some time to be seen to end. Not on the lane.</summary>
    internal async Task EndAsync()
    {
        await CleanUp.TryAsync(() => _container.SignalAsync(Kill, CancellationToken.None)).ConfigureAwait(false);
        if (_init.State == ProcessState.Paused)
        {
            await CleanUp.TryAsync(() => _container.ResumeAsync(CancellationToken.None)).ConfigureAwait(false);
        }
        if (!await Watched.EndsWithinAsync(TimeSpan.FromSeconds(2), _context.Time).ConfigureAwait(false))
        {
            StillThere(_context.Logger, Key);
        }
    }

    /// <summary>Its sandbox is no more: what is not seen to end within the limit is told to have been killed.</summary>
    internal async Task EndWithSandboxAsync(TimeSpan limit)
    {
        if (!await Watched.EndsWithinAsync(limit, _context.Time).ConfigureAwait(false))
        {
            _initGone = true;
            await TellEndAsync().EndsWithinAsync(limit, _context.Time).ConfigureAwait(false);
        }
    }

    private async Task TellEndAsync()
    {
        foreach (var exec in _execs.Values)
        {
            using var execTurn = await exec.Lane.EnterAsync().ConfigureAwait(false);
            if (exec.State == ProcessState.Running)
            {
                Ended(exec, LastStatus(exec.Process!));
            }
        }
        using var turn = await _init.Lane.EnterAsync().ConfigureAwait(false);
        _oom.Stop();
        Ended(_init, LastStatus(_container));
    }

    /// <summary>Names the streams of a process among those of all that live.</summary>
    internal static string StdioName(TaskKey key, string execId) => execId.Length == 0 ? $"{key.Instance}/{key}" : $"{key.Instance}/{key}/{execId}";

    private string Name(ManagedProcess process) => process == _init && _initGone ? "stopped" : process.State switch
    {
        ProcessState.Created => "created",
        ProcessState.Running => "running",
        ProcessState.Paused => "paused",
        ProcessState.Stopped => "stopped",
        _ => "deleted",
    };

    [LoggerMessage(EventId = 300, Level = LogLevel.Warning, Message = "Task {Key} has not ended after SIGKILL; deleting it all the same")]
    private static partial void StillThere(ILogger logger, TaskKey key);

    [LoggerMessage(EventId = 301, Level = LogLevel.Error, Message = "How a process of task {Key} ended is not known; it is taken for ended")]
    private static partial void EndUnknown(ILogger logger, Exception e, TaskKey key);
}
