using System.Collections.Concurrent;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Processes;

/// <summary>One thread that waits for the ends of all processes that are watched, by their pidfds.</summary>
internal sealed class ExitWatcher
{
    /// <summary>Of a process whose end was for another to learn.</summary>
    internal const int UnknownStatus = 255;

    private static readonly Lazy<ExitWatcher> s_shared = new(() => new ExitWatcher());

    private readonly SafeFileHandle _epoll = Libc.Epoll();
    private readonly ConcurrentDictionary<long, (SafeFileHandle Process, TaskCompletionSource<int> Exited)> _watched = [];
    private long _lastKey;

    private ExitWatcher() => new Thread(Run, 64 * 1024) { IsBackground = true, Name = "kuasar-vmm-exits" }.Start();

    internal static ExitWatcher Shared => s_shared.Value;

    /// <summary>Completes when the process has ended; a child is reaped then, and the pidfd disposed.</summary>
    internal void Watch(SafeFileHandle process, TaskCompletionSource<int> exited)
    {
        var key = Interlocked.Increment(ref _lastKey);
        _watched[key] = (process, exited);
        Libc.AddEpoll(_epoll, process, key);
    }

    private void Run()
    {
        while (true)
        {
            if (_watched.TryRemove(Libc.WaitEpoll(_epoll), out var entry))
            {
                Complete(entry.Process, entry.Exited);
            }
        }
    }

    private static void Complete(SafeFileHandle process, TaskCompletionSource<int> exited)
    {
        int? status = null;
        try
        {
            status = Libc.TryReap(process);
        }
        catch (IOException)
        {
            // It has ended; how is not known.
        }
        process.Dispose();
        exited.TrySetResult(status is null or Libc.NotOurs ? UnknownStatus : status.Value);
    }
}
