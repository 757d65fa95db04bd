using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Sandboxes;

internal sealed partial class ManagedSandbox
{
    /// <summary>How long a creation that is under way may hold back an end.</summary>
    private static readonly TimeSpan CreationLimit = TimeSpan.FromSeconds(10);

    /// <summary>How long tasks may take to be seen to end when their sandbox is gone.</summary>
    private static readonly TimeSpan TaskLimit = TimeSpan.FromSeconds(2);

    /// <summary>What an author gets beyond the time that was asked for; then a stop is answered, and a removal goes on without it.</summary>
    internal static readonly TimeSpan Grace = TimeSpan.FromSeconds(10);

    /// <summary>Longer than anybody waits, and not longer than a timer can.</summary>
    private static readonly TimeSpan LongestTimeout = TimeSpan.FromDays(30);

    private Task _stop = Task.CompletedTask;
    private bool _disposed;

    /// <summary>
    /// Ends it with all its tasks. A stop that is under way is joined, one that has been is enough, one that failed is tried again.
    /// </summary>
    /// <exception cref="SandboxException">DeadlineExceeded: it takes longer than it may, and goes on.</exception>
    internal async Task StopAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        timeout = timeout < LongestTimeout ? timeout : LongestTimeout;
        var stop = BeginStop(timeout);
        try
        {
            await stop.WaitAsync(timeout > TimeSpan.Zero ? timeout + Grace : Timeout.InfiniteTimeSpan, _context.Time, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException) when (!stop.IsCompleted)
        {
            throw new SandboxException(SandboxError.DeadlineExceeded, $"sandbox {Key} has not ended within {timeout.TotalSeconds:0} s and {Grace.TotalSeconds:0} more");
        }
    }

    private Task BeginStop(TimeSpan timeout)
    {
        // Whoever comes up is asked not to.
        _ = _ending.CancelAsync();
        lock (_memberLock)
        {
            return _stop.IsCompleted ? _stop = StopOnLaneAsync(timeout) : _stop;
        }
    }

    private async Task StopOnLaneAsync(TimeSpan timeout)
    {
        using var turn = await _lane.EnterAsync().ConfigureAwait(false);
        switch (_state)
        {
            case SandboxState.Stopped or SandboxState.Removed:
                return;
            case SandboxState.Created:
                Ended(new ExitStatus(0, _context.Time.GetUtcNow()));
                return;
        }
        Close();
        await EndTasksAsync().ConfigureAwait(false);
        if (!_ownEnd!.IsCompleted)
        {
            await AnswerOrEndAsync(_sandbox!.StopAsync(timeout, CancellationToken.None)).ConfigureAwait(false);
        }
        await EndTasksWithItAsync().ConfigureAwait(false);
        Ended(await OwnEndAsync().ConfigureAwait(false) ?? new ExitStatus(0, _context.Time.GetUtcNow()));
    }

    /// <summary>The author's stop. A sandbox that has ended meanwhile needs none, but the author gets time to see it.</summary>
    private async Task AnswerOrEndAsync(Task stopping)
    {
        await Task.WhenAny(stopping, _ownEnd!, _givenUp.Task).ConfigureAwait(false);
        if (!stopping.IsCompleted && _ownEnd!.IsCompleted)
        {
            await stopping.EndsWithinAsync(Grace, _context.Time).ConfigureAwait(false);
        }
        if (!stopping.IsCompleted)
        {
            StopAbandoned(_context.Logger, Key);
        }
        else if (!_ownEnd!.IsCompleted)
        {
            await stopping.ConfigureAwait(false);
        }
    }

    /// <summary>Watches for the end that nobody asked for.</summary>
    private async Task WatchAsync(Task<ExitStatus> ownEnd)
    {
        await ((Task)ownEnd).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (ownEnd.IsCanceled)
        {
            // The host lets go of everything when it stops.
            return;
        }
        if (_state == SandboxState.Ready)
        {
            EndedItself(_context.Logger, Key);
        }
        // Also after a stop that has failed.
        await BeginStop(TimeSpan.Zero).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>How it has ended by itself; null when it has not.</summary>
    private async Task<ExitStatus?> OwnEndAsync()
    {
        if (!_ownEnd!.IsCompleted)
        {
            return null;
        }
        try
        {
            return await _ownEnd.ConfigureAwait(false);
        }
#pragma warning disable CA1031 // nobody else would tell containerd that it is over
        catch (Exception e)
#pragma warning restore CA1031
        {
            EndUnknown(_context.Logger, e, Key);
            return new ExitStatus(ExitStatus.UnknownCode, _context.Time.GetUtcNow());
        }
    }

    /// <summary>From here on no container is taken in, and containerd sees that it is not ready.</summary>
    private void Close()
    {
        lock (_memberLock)
        {
            _state = SandboxState.Stopping;
        }
        TryNote(record => record.State = SandboxRecord.Types.State.Stopping);
    }

    private void Ended(ExitStatus status)
    {
        lock (_memberLock)
        {
            _state = SandboxState.Stopped;
        }
        TryNote(record =>
        {
            record.State = SandboxRecord.Types.State.Stopped;
            record.ExitStatus = status.Code;
            record.ExitedAt = Timestamp.FromDateTimeOffset(status.ExitedAt);
        });
        _exit.TrySetResult(status);
    }

    // An end is not held up by a record that cannot be written: what must be undone is in it already.
    private void TryNote(Action<SandboxRecord> change)
    {
        try
        {
            _folder.Note(change);
        }
        catch (IOException e)
        {
            NotNoted(_context.Logger, e, Key);
        }
    }

    private async Task<ContainerTask[]> TasksAsync(TimeSpan limit)
    {
        SandboxMember[] members;
        lock (_memberLock)
        {
            members = [.. _members];
        }
        await Task.WhenAll(members.Select(member => (Task)member.Settled)).EndsWithinAsync(limit, _context.Time).ConfigureAwait(false);
        return [.. members.Where(member => member.Settled.IsCompletedSuccessfully).Select(member => member.Settled.Result).OfType<ContainerTask>()];
    }

    /// <summary>SIGKILL for every task; their ends are told as any other's.</summary>
    private async Task EndTasksAsync()
    {
        var tasks = await TasksAsync(CreationLimit).ConfigureAwait(false);
        await Task.WhenAll(tasks.Select(task => task.EndAsync())).EndsWithinAsync(Grace, _context.Time).ConfigureAwait(false);
    }

    /// <summary>What has not been seen to end by now has ended with the sandbox.</summary>
    private async Task EndTasksWithItAsync()
    {
        var tasks = await TasksAsync(TimeSpan.Zero).ConfigureAwait(false);
        await Task.WhenAll(tasks.Select(task => task.EndWithSandboxAsync(TaskLimit))).ConfigureAwait(false);
    }

    /// <summary>
    /// Stops it if need be, frees it, and leaves nothing of it. An author's call that fails or hangs is not waited for longer than
    /// <see cref="Grace"/>: the record says what must go. May be repeated.
    /// </summary>
    /// <exception cref="IOException">Something is left; the record is kept, and another call goes on from there.</exception>
    internal async Task RemoveAsync()
    {
        var stop = BeginStop(TimeSpan.Zero);
        if (!await stop.EndsWithinAsync(Grace, _context.Time).ConfigureAwait(false))
        {
            _givenUp.TrySetResult();
            await stop.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        if (stop.IsFaulted)
        {
            StopFailed(_context.Logger, stop.Exception.InnerException!, Key);
        }
        using var turn = await _lane.EnterAsync().ConfigureAwait(false);
        if (_state != SandboxState.Removed)
        {
            await DeleteTasksAsync().ConfigureAwait(false);
            await FreeAsync().ConfigureAwait(false);
            if (_state != SandboxState.Stopped)
            {
                Ended(new ExitStatus(ExitStatus.UnknownCode, _context.Time.GetUtcNow()));
            }
            try
            {
                await _folder.ReleaseAsync().ConfigureAwait(false);
            }
            catch (Exception e) when (IsImplied && e is (IOException or UnauthorizedAccessException))
            {
                // Nobody would ask again. The record is kept for the next of this id, or for its `delete`.
                NotUndone(_context.Logger, e, Key);
            }
            Removed();
        }
    }

    /// <summary>Nobody has a container when the sandbox goes.</summary>
    private async Task DeleteTasksAsync()
    {
        var tasks = await TasksAsync(TimeSpan.Zero).ConfigureAwait(false);
        await Task.WhenAll(tasks.Select(DeleteAsync)).EndsWithinAsync(Grace, _context.Time).ConfigureAwait(false);

        async Task DeleteAsync(ContainerTask task)
        {
            await task.DeleteAsync(force: true).ConfigureAwait(false);
            _context.Tasks.Remove(task);
        }
    }

    /// <summary>On the lane, of one that has not come up: it goes with all it has.</summary>
    private async Task UndoAsync()
    {
        _ = _ending.CancelAsync();
        await FreeAsync().ConfigureAwait(false);
        try
        {
            await _folder.ReleaseAsync().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // the first error is the one to tell
        catch (Exception e)
#pragma warning restore CA1031
        {
            NotUndone(_context.Logger, e, Key);
        }
        _exit.TrySetResult(new ExitStatus(ExitStatus.UnknownCode, _context.Time.GetUtcNow()));
        Removed();
    }

    private async Task FreeAsync()
    {
        if (_disposed || _sandbox is not { } sandbox)
        {
            return;
        }
        _disposed = true;
        try
        {
            await sandbox.DisposeAsync().AsTask().WaitAsync(Grace, _context.Time).ConfigureAwait(false);
        }
#pragma warning disable CA1031 // an author's error; the record does the rest
        catch (Exception e)
#pragma warning restore CA1031
        {
            NotFreed(_context.Logger, e, Key);
        }
    }

    private void Removed()
    {
        lock (_memberLock)
        {
            _state = SandboxState.Removed;
        }
        _context.Forget(this);
        _gone.TrySetResult();
    }

    [LoggerMessage(EventId = 321, Level = LogLevel.Warning, Message = "Sandbox {Key} has ended by itself; its tasks end with it")]
    private static partial void EndedItself(ILogger logger, TaskKey key);

    [LoggerMessage(EventId = 322, Level = LogLevel.Error, Message = "How sandbox {Key} ended is not known; it is taken for ended")]
    private static partial void EndUnknown(ILogger logger, Exception e, TaskKey key);

    [LoggerMessage(EventId = 323, Level = LogLevel.Warning, Message = "The stop of sandbox {Key} does not come to its end; going on without it")]
    private static partial void StopAbandoned(ILogger logger, TaskKey key);

    [LoggerMessage(EventId = 324, Level = LogLevel.Warning, Message = "Sandbox {Key} could not be stopped; removing it all the same")]
    private static partial void StopFailed(ILogger logger, Exception e, TaskKey key);

    [LoggerMessage(EventId = 325, Level = LogLevel.Warning, Message = "Sandbox {Key} could not be freed in peace; removing what is recorded of it")]
    private static partial void NotFreed(ILogger logger, Exception e, TaskKey key);

    [LoggerMessage(EventId = 326, Level = LogLevel.Error, Message = "Something of sandbox {Key} is left")]
    private static partial void NotUndone(ILogger logger, Exception e, TaskKey key);

    [LoggerMessage(EventId = 327, Level = LogLevel.Warning, Message = "The record of sandbox {Key} could not be written")]
    private static partial void NotNoted(ILogger logger, Exception e, TaskKey key);
}
