using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Stdio;

namespace Kuasar.Sandbox.Tasks;

/// <summary>An init or an exec as containerd knows it: its state, its streams, its end. Changed on its lane, read by anyone.</summary>
internal sealed class ManagedProcess(string execId, StdioAddresses addresses)
{
    /// <summary>runc's shim waits as long; the client has what was written, or will not come for it.</summary>
    private static readonly TimeSpan DrainLimit = TimeSpan.FromSeconds(10);

    private readonly TaskCompletionSource<ExitStatus> _exit = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile ContainerProcess? _process;
    private volatile ProcessState _state;
    private Task _drained = Task.CompletedTask;
    private bool _freed;

    /// <summary>Empty for init.</summary>
    internal string ExecId => execId;

    internal Lane Lane { get; } = new();

    internal StdioAddresses Addresses => addresses;

    internal ProcessStdio? Stdio { get; set; }

    internal ProcessState State
    {
        get => _state;
        set => _state = value;
    }

    internal ContainerProcess? Process => _process;

    /// <summary>An exec's OCI process.</summary>
    internal ReadOnlyMemory<byte> Spec { get; init; }

    /// <summary>Stays what it was after the end; 0 before the process exists.</summary>
    internal int ProcessId { get; private set; }

    /// <summary>Completes when containerd may know of the end. Many may wait.</summary>
    internal Task<ExitStatus> Exit => _exit.Task;

    /// <summary>Of an exec that has been added.</summary>
    internal ExecRecord ToRecord() => new()
    {
        Id = execId,
        Stdio = addresses.ToRecord(),
        Process = Google.Protobuf.ByteString.CopyFrom(Spec.Span),
        State = TaskRecord.Types.State.Created,
    };

    internal void Attach(ContainerProcess process)
    {
        ProcessId = process.ProcessId;
        _process = process;
    }

    /// <summary>On the lane: the process has ended. Its output is passed on in the background; Delete waits for that.</summary>
    internal void Stop(ExitStatus status)
    {
        if (_state != ProcessState.Deleted && !_exit.Task.IsCompleted)
        {
            _state = ProcessState.Stopped;
            _drained = Stdio?.DrainAsync(DrainLimit) ?? Task.CompletedTask;
        }
        _exit.TrySetResult(status);
    }

    /// <summary>On the lane: the id is free again. Whoever still waits for a process that never ran learns that nothing is known of it.</summary>
    internal void Forget(DateTimeOffset now)
    {
        _state = ProcessState.Deleted;
        if (_process is null)
        {
            _exit.TrySetResult(new ExitStatus(ExitStatus.UnknownCode, now));
        }
    }

    /// <summary>
    /// On the lane: frees what is left, after the end or when the process never started. May be repeated when it fails; the state is
    /// the caller's to set.
    /// </summary>
    internal async Task CloseAsync()
    {
        await _drained.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!_freed && _process is { } process)
        {
            try
            {
                await process.DeleteAsync(CancellationToken.None).ConfigureAwait(false);
            }
            catch (SandboxException e) when (e.Error == SandboxError.NotFound)
            {
                // Gone already, which is what was asked for.
            }
            _freed = true;
        }
        if (Stdio is { } stdio)
        {
            await stdio.DisposeAsync().ConfigureAwait(false);
        }
    }
}
