namespace Kuasar.Vmm.ApiServers.Guests;

/// <summary>Open while the guest runs; what passes through it waits while the guest is paused.</summary>
internal sealed class Gate
{
    private volatile TaskCompletionSource _open = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal Gate() => _open.SetResult();

    internal bool Open
    {
        get => _open.Task.IsCompleted;
        set
        {
            if (value)
            {
                _open.TrySetResult();
            }
            else if (_open.Task.IsCompleted)
            {
                _open = new(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }
    }

    internal Task PassAsync() => _open.Task;
}
