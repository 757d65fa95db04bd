using Kuasar.Sandbox.Tasks;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>A task's place in its sandbox, from before its container is made until the task is gone.</summary>
internal sealed class SandboxMember(ManagedSandbox sandbox) : IAsyncDisposable
{
    private readonly TaskCompletionSource<ContainerTask?> _settled = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _left;

    internal ManagedSandbox Owner => sandbox;

    /// <summary>Of the author; there when the task may make its container.</summary>
    internal Sandbox Sandbox => sandbox.Sandbox;

    /// <summary>Completes when the task's creation has ended: with the task, or with null when there is none.</summary>
    internal Task<ContainerTask?> Settled => _settled.Task;

    /// <summary>Whether a container that was being made may still be told of. A sandbox that stops meanwhile does not take it any more.</summary>
    /// <exception cref="SandboxException">FailedPrecondition.</exception>
    internal void RequireOpen() => sandbox.RequireOpen();

    internal void Settle(ContainerTask task) => _settled.TrySetResult(task);

    /// <summary>Leaves as if it had never been there: what could not be taken over is not to be undone.</summary>
    internal void Abandon()
    {
        if (Interlocked.Exchange(ref _left, 1) == 0)
        {
            _settled.TrySetResult(null);
            sandbox.Abandon(this);
        }
    }

    /// <summary>Leaves; an implied sandbox ends with its last member. Safe to repeat.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _left, 1) == 0)
        {
            _settled.TrySetResult(null);
            await sandbox.LeaveAsync(this).ConfigureAwait(false);
        }
    }
}
