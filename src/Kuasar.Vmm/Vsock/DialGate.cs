namespace Kuasar.Vmm.Vsock;

/// <summary>
/// Keeps dials, and writes and ends of connections, and pauses apart: a byte to a guest that is stopped wedges vhost-device-vsock for good. While the gate is shut dials
/// wait; shutting it waits for those under way.
/// </summary>
internal sealed class DialGate
{
    private readonly Lock _lock = new();
    private int _dials;
    private TaskCompletionSource? _shut; // completes when the gate opens
    private TaskCompletionSource? _idle; // completes when the last dial ends

    /// <summary>Waits while the gate is shut. Dispose the pass when the dial has ended, either way.</summary>
    internal async ValueTask<Pass> EnterAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task opened;
            lock (_lock)
            {
                if (_shut is null)
                {
                    _dials++;
                    return new Pass(this);
                }
                opened = _shut.Task;
            }
            await opened.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Completes when the gate is open; at once, when it is.</summary>
    internal Task WhenOpenAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            return _shut is null ? Task.CompletedTask : _shut.Task.WaitAsync(cancellationToken);
        }
    }

    /// <summary>No dial is under way when it completes, and none begins before <see cref="Open"/>. Cancelled: the gate is open again.</summary>
    internal async Task ShutAsync(CancellationToken cancellationToken)
    {
        Task idle;
        lock (_lock)
        {
            _shut ??= new(TaskCreationOptions.RunContinuationsAsynchronously);
            if (_dials == 0)
            {
                return;
            }
            idle = (_idle ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        }
        try
        {
            await idle.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            Open();
            throw;
        }
    }

    /// <summary>Lets dials through; idempotent.</summary>
    internal void Open()
    {
        lock (_lock)
        {
            _shut?.TrySetResult();
            _shut = null;
        }
    }

    private void Leave()
    {
        lock (_lock)
        {
            if (--_dials == 0)
            {
                _idle?.TrySetResult();
                _idle = null;
            }
        }
    }

    /// <summary>One dial's.</summary>
    internal readonly struct Pass(DialGate gate) : IDisposable
    {
        public void Dispose() => gate.Leave();
    }
}
