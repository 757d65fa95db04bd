using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Cgroups;

/// <summary>One watched fd, an eventfd or an inotify, drained on the loop's thread and asked whether it means an OOM.</summary>
internal sealed class OomWatch : IDisposable
{
    private readonly Lock _lock = new();
    private readonly SafeFileHandle _handle;
    private readonly Func<bool> _isOom;
    private readonly Action _onOom;
    private readonly EventLoop.Registration _registration;
    private bool _disposed;

    /// <summary>Owns the handle from here on, unless it throws.</summary>
    internal OomWatch(EventLoop loop, SafeFileHandle handle, Func<bool> isOom, Action onOom)
    {
        (_handle, _isOom, _onOom) = (handle, isOom, onOom);
        _registration = loop.Register(handle, EventLoop.In, OnReady);
    }

    /// <summary>For a cgroup that cannot run out of memory.</summary>
    internal static IDisposable None { get; } = new NoWatch();

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
            while (Libc.Read(_handle, buffer) == buffer.Length)
            {
            }
        }
        if (_isOom())
        {
            _onOom();
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
            _registration.Dispose();
            _handle.Dispose();
        }
    }

    private sealed class NoWatch : IDisposable
    {
        public void Dispose()
        {
        }
    }
}
