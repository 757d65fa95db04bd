using Grpc.Core;

namespace Kuasar.Vmm.Agent;

/// <summary>
/// What a reader of output lets the agent send, told in a while: small pieces go together. Of an agent that does not read it, nobody waits for
/// anything. Thread-safe.
/// </summary>
/// <param name="urgent">So many bytes do not wait for more.</param>
/// <param name="sendAsync">Sends one grant, in bytes.</param>
internal sealed class OutputGrants(int urgent, Func<int, Task> sendAsync)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(100);

    private readonly Lock _lock = new();
    private TaskCompletionSource _isUrgent = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task _sending = Task.CompletedTask;
    private int _waiting;

    internal void Add(int bytes)
    {
        lock (_lock)
        {
            _waiting += bytes;
            if (_waiting >= urgent)
            {
                _isUrgent.TrySetResult();
            }
            if (_sending.IsCompleted)
            {
                _sending = SendAsync();
            }
        }
    }

    /// <summary>After the last: completes when all is sent, at once.</summary>
    internal Task FinishAsync()
    {
        lock (_lock)
        {
            _isUrgent.TrySetResult();
            return _sending;
        }
    }

    private async Task SendAsync()
    {
        // Add holds the lock.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        try
        {
            do
            {
                await Task.WhenAny(_isUrgent.Task, Task.Delay(s_patience)).ConfigureAwait(false);
                await sendAsync(Take()).ConfigureAwait(false);
            }
            while (!IsDone());
        }
        catch (Exception e) when (e is RpcException or ObjectDisposedException or OperationCanceledException or InvalidOperationException)
        {
            // The stream has ended, which its reader hears of.
        }
    }

    private int Take()
    {
        lock (_lock)
        {
            var bytes = _waiting;
            _waiting = 0;
            _isUrgent = new(TaskCreationOptions.RunContinuationsAsynchronously);
            return bytes;
        }
    }

    private bool IsDone()
    {
        lock (_lock)
        {
            if (_waiting > 0)
            {
                return false;
            }
            // Before it is: the next grant must not take this one for still under way.
            _sending = Task.CompletedTask;
            return true;
        }
    }
}
