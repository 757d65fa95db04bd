using System.Diagnostics.CodeAnalysis;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>
/// One sandbox, of the Sandbox API or implied by tasks: the life that all share; what differs is behind <see cref="Sandbox"/>. This file:
/// how it comes up, and what is known of it. <c>ManagedSandbox.End.cs</c>: how it ends.
/// </summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A source of cancellation without a timer holds nothing.")]
internal sealed partial class ManagedSandbox
{
    private readonly SandboxContext _context;
    private readonly SandboxSpec _spec;
    private readonly SandboxFolder _folder;
    private readonly Lane _lane = new();
    private readonly CancellationTokenSource _ending = new();
    private readonly TaskCompletionSource _givenUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<ExitStatus> _exit = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _gone = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly HashSet<SandboxMember> _members = [];
    private readonly Lock _memberLock = new();
    private readonly Lazy<Task> _opened;
    private readonly Task<Lane.Turn> _birth;
    private readonly Func<Task> _clear;
    private volatile Sandbox? _sandbox;
    private volatile Platform? _platform;
    private volatile Task<ExitStatus>? _ownEnd;
    private bool _deserted;
    private volatile SandboxState _state = SandboxState.Creating;

    /// <param name="context">What all sandboxes share.</param>
    /// <param name="key">Its own; the caller has it to itself.</param>
    /// <param name="spec">What the author is told, with the folder of the sandbox.</param>
    /// <param name="implied">Made for tasks.</param>
    /// <param name="clear">Removes what an earlier life left of the id, or throws.</param>
    /// <param name="found">What an earlier life has written down of it, where it is one that is taken over.</param>
    internal ManagedSandbox(SandboxContext context, TaskKey key, SandboxSpec spec, bool implied, Func<Task> clear, SandboxRecord? found = null)
    {
        _context = context;
        Key = key;
        _spec = spec;
        _folder = spec.Folder!;
        CreatedAt = _folder.CreatedAt;
        IsImplied = implied;
        _clear = clear;
        _opened = new(() => found is null ? OpenAsync() : RecoverAsync(found));
        // Whoever finds it before its creation has begun comes after that.
        _birth = _lane.EnterAsync().AsTask();
    }

    internal TaskKey Key { get; }

    /// <summary>Made for tasks: it ends with the last of them.</summary>
    internal bool IsImplied { get; }

    internal DateTimeOffset CreatedAt { get; }

    internal SandboxState State => _state;

    /// <summary>As the CRI spells it; anything else would count as unknown.</summary>
    internal string StateName => _state == SandboxState.Ready ? "SANDBOX_READY" : "SANDBOX_NOTREADY";

    /// <summary>0 before the start, and where it is no process.</summary>
    internal int ProcessId { get; private set; }

    /// <summary>Completes when it has ended, however. Many may wait.</summary>
    internal Task<ExitStatus> Exit => _exit.Task;

    /// <summary>
    /// Of one of an earlier life: completes when its tasks have been taken over. Before, an end of its own would not know whom to end.
    /// </summary>
    internal Task TasksAreThere { private get; init; } = Task.CompletedTask;

    /// <summary>Completes when nothing of it is left, and its id is free.</summary>
    internal Task Gone => _gone.Task;

    internal Sandbox Sandbox => _sandbox ?? throw NotReady();

    /// <summary>What its containers run on.</summary>
    internal Platform Platform => _platform ?? throw NotReady();

    /// <summary>
    /// Of an implied one: completes when it takes containers; of one of an earlier life: when it has been taken over. Asked for by many,
    /// done once.
    /// </summary>
    internal Task Opened => _opened.Value;

    private async Task OpenAsync()
    {
        await CreateAsync().ConfigureAwait(false);
        await StartAsync().ConfigureAwait(false);
    }

    /// <summary>Has the author make it. On failure nothing of it is left.</summary>
    internal async Task CreateAsync()
    {
        using var turn = await _birth.ConfigureAwait(false);
        try
        {
            await _clear().ConfigureAwait(false);
            _folder.Open();
            _sandbox = await AnswerAsync(
                () => _context.Sandboxer.CreateSandboxAsync(_spec, _ending.Token),
                late => late.DisposeAsync().AsTask()).ConfigureAwait(false);
            _platform = _sandbox.Platform;
            _state = SandboxState.Created;
        }
        catch (Exception e)
        {
            await UndoAsync().ConfigureAwait(false);
            throw Explained(e, "created");
        }
    }

    /// <summary>Gets it ready for containers. On failure nothing of it is left.</summary>
    internal async Task StartAsync()
    {
        using var turn = await _lane.EnterAsync().ConfigureAwait(false);
        if (_state != SandboxState.Created)
        {
            throw _state == SandboxState.Removed
                ? new SandboxException(SandboxError.NotFound, $"no sandbox {Key}")
                : new SandboxException(SandboxError.FailedPrecondition, $"cannot start a sandbox that is {Name}");
        }
        var sandbox = _sandbox!;
        try
        {
            _folder.Note(record => record.State = SandboxRecord.Types.State.Starting);
            _state = SandboxState.Starting;
            await AnswerAsync(() => sandbox.StartAsync(_ending.Token)).ConfigureAwait(false);
            ProcessId = sandbox.ProcessId;
            _platform = sandbox.Platform;
            _ownEnd = sandbox.Exited;
            _folder.Note(record => (record.State, record.Pid) = (SandboxRecord.Types.State.Ready, (uint)ProcessId));
            _state = SandboxState.Ready;
        }
        catch (Exception e)
        {
            await UndoAsync().ConfigureAwait(false);
            throw Explained(e, "started");
        }
        _ = WatchAsync(_ownEnd);
    }

    /// <summary>
    /// Takes the place that it had in an earlier life of the sandboxer. Where the author cannot take it over, nothing of it is touched: what
    /// is recorded stays for whoever asks for its removal.
    /// </summary>
    private async Task RecoverAsync(SandboxRecord found)
    {
        using var turn = await _birth.ConfigureAwait(false);
        // Of another boot nothing can live, whatever its author makes of it.
        var lost = !IsImplied && found.State is not (SandboxRecord.Types.State.Created or SandboxRecord.Types.State.Stopped) &&
            found.BootId.Length > 0 && found.BootId != Linux.ProcessIdentity.BootId;
        var stopped = lost || found.State == SandboxRecord.Types.State.Stopped;
        try
        {
            _folder.Reopen();
            _sandbox = await AnswerAsync(
                () => _context.Sandboxer.RecoverSandboxAsync(_spec, _ending.Token),
                late => late.DisposeAsync().AsTask()).ConfigureAwait(false);
            _platform = _sandbox.Platform;
            ProcessId = (int)found.Pid;
            if (!stopped && (IsImplied || found.State != SandboxRecord.Types.State.Created))
            {
                ProcessId = IsImplied ? _sandbox.ProcessId : (int)found.Pid;
                _ownEnd = _sandbox.Exited;
            }
        }
        catch when (!stopped)
        {
            lock (_memberLock)
            {
                _state = SandboxState.Removed;
            }
            _context.Forget(this);
            _gone.TrySetResult();
            throw;
        }
        catch (Exception e)
        {
            // Nothing but its removal is left to ask for, which goes by the record.
            NotFreed(_context.Logger, e, Key);
        }
        if (stopped)
        {
            _platform ??= HostPlatform.Current;
            if (lost)
            {
                Ended(new ExitStatus(ExitStatus.UnknownCode, _context.Time.GetUtcNow()));
                return;
            }
            _state = SandboxState.Stopped;
            _exit.TrySetResult(new ExitStatus(found.ExitStatus, found.ExitedAt?.ToDateTimeOffset() ?? _context.Time.GetUtcNow()));
            return;
        }
        _state = _ownEnd is null ? SandboxState.Created : SandboxState.Ready;
        _ = GoOnAsync(found.State == SandboxRecord.Types.State.Stopping);
    }

    /// <summary>What goes on by itself in one that was taken over: the watch for its end, or a stop that was not finished.</summary>
    private async Task GoOnAsync(bool stopping)
    {
        await TasksAreThere.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (stopping)
        {
            await BeginStop(TimeSpan.Zero).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        if (_ownEnd is not null)
        {
            await WatchAsync(_ownEnd).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// A task that could not be taken over is no member. One that tasks implied is forgotten with the last of them, and not touched:
    /// its record stays for those who ask for the removal of the task.
    /// </summary>
    internal void Abandon(SandboxMember member)
    {
        lock (_memberLock)
        {
            _members.Remove(member);
            if (!IsImplied || _members.Count > 0 || _state == SandboxState.Removed)
            {
                return;
            }
            _deserted = true;
            _state = SandboxState.Removed;
        }
        _context.Forget(this);
        _gone.TrySetResult();
    }

    /// <summary>Whether it is one that tasks implied and that has none. Then it takes none any more, and is to be removed.</summary>
    internal bool TryDesert()
    {
        lock (_memberLock)
        {
            return IsImplied && _members.Count == 0 && !_deserted && (_deserted = true);
        }
    }

    /// <summary>A place for a task that had one in an earlier life, whatever the sandbox's state.</summary>
    internal SandboxMember JoinAgain()
    {
        lock (_memberLock)
        {
            if (_deserted || _state == SandboxState.Removed)
            {
                throw NotReady();
            }
            var member = new SandboxMember(this);
            _members.Add(member);
            return member;
        }
    }

    /// <summary>
    /// Takes a task in. An implied one does so at any time: it comes up for its tasks. Null when it has lost its last task: then the caller
    /// waits for <see cref="Gone"/>, and makes another.
    /// </summary>
    /// <exception cref="SandboxException">FailedPrecondition: it does not take containers now.</exception>
    internal SandboxMember? TryJoin()
    {
        lock (_memberLock)
        {
            if (!IsImplied)
            {
                RequireOpen();
            }
            if (_deserted || _state == SandboxState.Removed)
            {
                return null;
            }
            var member = new SandboxMember(this);
            _members.Add(member);
            return member;
        }
    }

    internal void RequireOpen()
    {
        if (_state != SandboxState.Ready)
        {
            throw NotReady();
        }
    }

    internal async Task LeaveAsync(SandboxMember member)
    {
        lock (_memberLock)
        {
            _members.Remove(member);
            if (!IsImplied || _members.Count > 0)
            {
                return;
            }
            _deserted = true;
        }
        await RemoveAsync().ConfigureAwait(false);
    }

    /// <summary>Beside other calls, and only while it is ready.</summary>
    internal Task<Any> GetMetricsAsync(CancellationToken cancellationToken)
    {
        RequireOpen();
        return Sandbox.GetMetricsAsync(cancellationToken);
    }

    /// <summary>Beside other calls, and only while it is ready.</summary>
    internal Task PingAsync(CancellationToken cancellationToken)
    {
        RequireOpen();
        return Sandbox.PingAsync(cancellationToken);
    }

    internal async Task UpdateAsync(SandboxResources resources)
    {
        using var turn = await _lane.EnterAsync().ConfigureAwait(false);
        RequireOpen();
        await AnswerAsync(() => Sandbox.UpdateAsync(resources, CancellationToken.None)).ConfigureAwait(false);
    }

    /// <summary>What the author has to tell; nothing where that fails: a status is always answered.</summary>
    internal IReadOnlyDictionary<string, string> GetInfo()
    {
        try
        {
            return _state is SandboxState.Created or SandboxState.Starting or SandboxState.Ready ? _sandbox!.GetInfo() : s_noInfo;
        }
#pragma warning disable CA1031 // an author's error
        catch (Exception e)
#pragma warning restore CA1031
        {
            NoInfo(_context.Logger, e, Key);
            return s_noInfo;
        }
    }

    private static readonly IReadOnlyDictionary<string, string> s_noInfo = System.Collections.ObjectModel.ReadOnlyDictionary<string, string>.Empty;

    /// <summary>The author's answer; without it when a removal has waited for it in vain.</summary>
    private async Task<T> AnswerAsync<T>(Func<Task<T>> call, Func<T, Task> tooLate)
    {
        var answer = call();
        await Task.WhenAny(answer, _givenUp.Task).ConfigureAwait(false);
        if (!answer.IsCompleted)
        {
            _ = DropAsync();
            throw new SandboxException(SandboxError.DeadlineExceeded, $"sandbox {Key} is {Name} and does not get on");
        }
        return await answer.ConfigureAwait(false);

        async Task DropAsync() => await CleanUp.TryAsync(async () => await tooLate(await answer.ConfigureAwait(false)).ConfigureAwait(false)).ConfigureAwait(false);
    }

    private async Task AnswerAsync(Func<Task> call) => await AnswerAsync(
        async () =>
        {
            await call().ConfigureAwait(false);
            return true;
        },
        _ => Task.CompletedTask).ConfigureAwait(false);

    private Exception Explained(Exception error, string what) =>
        error is OperationCanceledException && _ending.IsCancellationRequested
            ? new SandboxException(SandboxError.FailedPrecondition, $"sandbox {Key} was stopped while it was {what}", error)
            : error;

    private SandboxException NotReady() => _state == SandboxState.Removed
        ? new(SandboxError.NotFound, $"no sandbox {Key}")
        : new(SandboxError.FailedPrecondition, $"sandbox {Key} is {Name}");

    private string Name => _state switch
    {
        SandboxState.Creating => "being created",
        SandboxState.Created => "created",
        SandboxState.Starting => "starting",
        SandboxState.Ready => "ready",
        SandboxState.Stopping => "stopping",
        SandboxState.Stopped => "stopped",
        _ => "removed",
    };

    [LoggerMessage(EventId = 320, Level = LogLevel.Warning, Message = "What sandbox {Key} has to tell of itself could not be asked")]
    private static partial void NoInfo(ILogger logger, Exception e, TaskKey key);
}
