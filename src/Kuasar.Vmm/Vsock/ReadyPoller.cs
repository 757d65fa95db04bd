using System.Net.Sockets;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Vsock;

/// <summary>
/// An epoll and its thread, for sockets that wait. Each wait is one event (EPOLLONESHOT) and leaves nothing behind, so that a socket which is
/// read without waiting wakes nobody else, as it would in .NET's event loop. One wait a socket at a time: reads and writes have a poller each.
/// </summary>
internal sealed class ReadyPoller
{
    private static readonly Lazy<ReadyPoller> s_reads = new(static () => new ReadyPoller(Libc.POLLIN, "vsock reads"));
    private static readonly Lazy<ReadyPoller> s_writes = new(static () => new ReadyPoller(Libc.POLLOUT, "vsock writes"));

    private readonly SafeFileHandle _epoll = Libc.Epoll();
    private readonly uint _events;
    private readonly Lock _lock = new();
    private readonly Dictionary<long, TaskCompletionSource> _waits = []; // by a number of their own: descriptors are used again
    private long _lastWait;

    private ReadyPoller(uint events, string name)
    {
        _events = events;
        // For as long as the process: it has no state but the waits.
        new Thread(Run, 256 * 1024) { IsBackground = true, Name = name }.UnsafeStart();
    }

    internal static ReadyPoller Reads => s_reads.Value;

    internal static ReadyPoller Writes => s_writes.Value;

    /// <summary>Completes on the pool when the socket is ready, or has failed.</summary>
    /// <exception cref="OperationCanceledException">Nobody wants to know any more.</exception>
    internal async Task WaitAsync(SafeSocketHandle socket, CancellationToken cancellationToken)
    {
        var ready = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        long wait;
        lock (_lock)
        {
            wait = ++_lastWait;
            _waits.Add(wait, ready);
        }
        var held = false;
        try
        {
            // The number stays this socket's until it is out of the epoll again.
            socket.DangerousAddRef(ref held);
            Libc.AddEpoll(_epoll, socket, _events, wait);
            try
            {
                await ready.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                Libc.RemoveEpoll(_epoll, socket);
            }
        }
        finally
        {
            if (held)
            {
                socket.DangerousRelease();
            }
            lock (_lock)
            {
                _waits.Remove(wait);
            }
        }
    }

    private void Run()
    {
        while (true)
        {
            var wait = Libc.WaitEpoll(_epoll);
            lock (_lock)
            {
                // Gone, if it was cancelled meanwhile.
                _waits.GetValueOrDefault(wait)?.TrySetResult();
            }
        }
    }
}
