using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

internal static class Readiness
{
    private const uint Once = 1u << 30; // EPOLLONESHOT

    /// <summary>Waits, without a thread, until the fd is ready or has failed. One wait an fd at a time.</summary>
    /// <exception cref="OperationCanceledException">Nobody wants to know any more.</exception>
    internal static async Task WaitAsync(this EventLoop loop, SafeFileHandle handle, uint events, CancellationToken cancellationToken)
    {
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = loop.Register(handle, events | Once, _ => ready.TrySetResult());
        await ready.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }
}
