using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Sandbox.Sandboxes;

internal sealed partial class ManagedSandbox
{
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
}
