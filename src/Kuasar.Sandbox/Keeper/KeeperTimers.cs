using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>Actions of the loop's thread after a time, by one timerfd: no thread of the pool, no timer thread.</summary>
internal sealed class KeeperTimers : IDisposable
{
    private readonly SafeFileHandle _timer = Libc.TimerFd();
    private readonly PriorityQueue<Entry, long> _entries = new();
    private readonly EventLoop.Registration _registration;

    internal KeeperTimers(EventLoop loop) => _registration = loop.Register(_timer, EventLoop.In, _ => Run());

    /// <summary>Calls once. On the loop's thread, as are all calls of this class.</summary>
    internal Entry After(TimeSpan time, Action action)
    {
        var entry = new Entry { Action = action };
        _entries.Enqueue(entry, Environment.TickCount64 + (long)Math.Ceiling(time.TotalMilliseconds));
        Set();
        return entry;
    }

    private void Run()
    {
        Span<byte> count = stackalloc byte[8];
        Libc.Read(_timer, count);
        while (_entries.TryPeek(out var entry, out var due) && (entry.Action is null || due <= Environment.TickCount64))
        {
            _entries.Dequeue();
            entry.Action?.Invoke();
        }
        Set();
    }

    private void Set()
    {
        while (_entries.TryPeek(out var cancelled, out _) && cancelled.Action is null)
        {
            _entries.Dequeue();
        }
        if (_entries.TryPeek(out _, out var due))
        {
            Libc.SetTimer(_timer, TimeSpan.FromMilliseconds(Math.Max(1, due - Environment.TickCount64)));
        }
    }

    public void Dispose()
    {
        _registration.Dispose();
        _timer.Dispose();
    }

    internal sealed class Entry
    {
        internal Action? Action { get; set; }

        internal void Cancel() => Action = null;
    }
}
