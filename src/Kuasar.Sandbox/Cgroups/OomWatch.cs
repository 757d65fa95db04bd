using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Cgroups;

/// <summary>One watched fd, an eventfd or an inotify, which it owns: drained on the loop's thread and asked whether it means an OOM.</summary>
internal sealed class OomWatch(SafeFileHandle handle, Func<bool> isOom, Action onOom) : IDisposable
{
    // An eventfd adds up: the kernel adds 1 for each of its signals, so ours can be told from them.
    private const ulong OwnSignal = 1 << 16;
    private const int FirstDelay = 5, LastDelay = 1280;

    private readonly Lock _lock = new();
    private EventLoop.Registration? _registration;
    private Timer? _timer;
    private int _delay;
    private bool _disposed;

    /// <summary>The fd, an eventfd, tells of a shortage moments before the kill: look again a few times.</summary>
    internal bool Recheck { get; init; }

    /// <summary>For a cgroup that cannot run out of memory.</summary>
    internal static IDisposable None { get; } = new NoWatch();

    /// <summary>Begins; when that fails, the handle is closed too.</summary>
    internal OomWatch Start(EventLoop loop)
    {
        // Under the lock: an event may come before the registration is stored.
        lock (_lock)
        {
            try
            {
                _registration = loop.Register(handle, EventLoop.In, OnReady);
                return this;
            }
            catch
            {
                Dispose();
                throw;
            }
        }
    }

    private void OnReady(uint events)
    {
        // Under the lock, since a disposed fd's number may already be another file's.
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }
            Span<byte> buffer = stackalloc byte[4096];
            var told = Libc.Read(handle, buffer) == sizeof(ulong) ? BitConverter.ToUInt64(buffer) : 0;
            if (Recheck)
            {
                // A signal of the kernel's begins anew; one of our own timer goes on.
                _delay = told % OwnSignal == 0 ? Math.Max(_delay * 2, FirstDelay) : FirstDelay;
            }
        }
        if (isOom())
        {
            onOom();
        }
        else if (Recheck)
        {
            LookAgain();
        }
    }

    /// <summary>Signals the fd ourselves, so that the next look too is on the loop's thread.</summary>
    private void LookAgain()
    {
        lock (_lock)
        {
            if (!_disposed && _delay <= LastDelay)
            {
                _timer ??= new Timer(_ => Signal());
                _timer.Change(_delay, Timeout.Infinite);
            }
        }
    }

    private void Signal()
    {
        lock (_lock)
        {
            if (!_disposed)
            {
                Libc.Write(handle, BitConverter.GetBytes(OwnSignal));
            }
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }
            _disposed = true;
            _timer?.Dispose();
            _registration?.Dispose();
            handle.Dispose();
        }
    }

    private sealed class NoWatch : IDisposable
    {
        public void Dispose()
        {
        }
    }
}
