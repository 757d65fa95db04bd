using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Kuasar.Protocol.Transport;

/// <summary>
/// The process's one epoll, for connections that wait without a thread: idle ones of servers, and flushers whose peer does not
/// read. Every wait is for one event (EPOLLONESHOT); the waiters run on the pool. Its thread starts with the first wait.
/// </summary>
internal sealed class Poller
{
    private const int MaxEvents = 128;

    private static readonly Lazy<Poller> s_shared = new(() => new Poller());

    private readonly int _epoll;
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, PollEntry> _entries = []; // by a number of their own: descriptors are used again
    private ulong _nextKey;

    private Poller()
    {
        _epoll = Libc.EpollCreate(Libc.EpollCloseOnExec);
        if (_epoll < 0)
        {
            throw new IOException(Marshal.GetLastPInvokeErrorMessage());
        }
        new Thread(Run) { IsBackground = true, Name = "ttrpc poller" }.UnsafeStart();
    }

    internal static Poller Shared => s_shared.Value;

    internal ulong Add(PollEntry entry)
    {
        lock (_lock)
        {
            _entries.Add(++_nextKey, entry);
            return _nextKey;
        }
    }

    internal void Remove(ulong key)
    {
        lock (_lock)
        {
            _entries.Remove(key);
        }
    }

    /// <summary>Tells the kernel. Throws when the descriptor is closed or the system refuses.</summary>
    internal unsafe void Control(int operation, SafeSocketHandle socket, int events, ulong key)
    {
        var change = stackalloc byte[Libc.EpollEventSize];
        *(uint*)change = (uint)(events | Libc.EpollOneShot);
        MemoryMarshal.Write(new Span<byte>(change + Libc.EpollDataOffset, sizeof(ulong)), key);
        if (Libc.EpollControl(_epoll, operation, socket, change) != 0)
        {
            throw new IOException(Marshal.GetLastPInvokeErrorMessage());
        }
    }

    private unsafe void Run()
    {
        var events = stackalloc byte[MaxEvents * Libc.EpollEventSize];
        while (true)
        {
            var count = Libc.EpollWait(_epoll, events, MaxEvents, timeout: -1);
            for (var i = 0; i < count; i++)
            {
                var at = events + (i * Libc.EpollEventSize);
                var happened = (int)*(uint*)at;
                var key = MemoryMarshal.Read<ulong>(new ReadOnlySpan<byte>(at + Libc.EpollDataOffset, sizeof(ulong)));
                PollEntry? entry;
                lock (_lock)
                {
                    entry = _entries.GetValueOrDefault(key);
                }
                entry?.Fire(happened);
            }
        }
    }
}

/// <summary>One descriptor's waits: at most one for reading and one for writing.</summary>
internal sealed class PollEntry(SafeSocketHandle socket)
{
    private readonly Lock _lock = new();
    private IThreadPoolWorkItem? _reader;
    private IThreadPoolWorkItem? _writer;
    private ulong _key; // 0 until the first wait
    private bool _closed;

    private int Interest => (_reader is null ? 0 : Libc.EpollIn) | (_writer is null ? 0 : Libc.EpollOut);

    /// <summary>Runs <paramref name="work"/> on the pool, exactly once: at the event, or when the entry is closed.</summary>
    internal void Wait(int direction, IThreadPoolWorkItem work)
    {
        lock (_lock)
        {
            if (!_closed && TryArm(direction, work))
            {
                return;
            }
        }
        ThreadPool.UnsafeQueueUserWorkItem(work, preferLocal: false);
    }

    /// <summary>Any error or hang-up wakes both: their next call says what it is.</summary>
    internal void Fire(int events)
    {
        IThreadPoolWorkItem? reader = null, writer = null;
        lock (_lock)
        {
            if ((events & ~Libc.EpollOut) != 0)
            {
                (reader, _reader) = (_reader, null);
            }
            if ((events & ~Libc.EpollIn) != 0)
            {
                (writer, _writer) = (_writer, null);
            }
            // One shot disarmed both directions.
            if (Interest != 0 && !_closed && !TryControl(Libc.EpollModify))
            {
                (reader, _reader) = (reader ?? _reader, null);
                (writer, _writer) = (writer ?? _writer, null);
            }
        }
        Queue(reader);
        Queue(writer);
    }

    /// <summary>Ends all waits. Before the descriptor is closed.</summary>
    internal void Close()
    {
        IThreadPoolWorkItem? reader, writer;
        lock (_lock)
        {
            if (_closed)
            {
                return;
            }
            _closed = true;
            (reader, writer, _reader, _writer) = (_reader, _writer, null, null);
            if (_key != 0)
            {
                // A copy of the descriptor in another process would keep it registered.
                _ = TryControl(Libc.EpollDelete);
                Poller.Shared.Remove(_key);
            }
        }
        Queue(reader);
        Queue(writer);
    }

    private bool TryArm(int direction, IThreadPoolWorkItem work)
    {
        if (direction == Libc.EpollIn)
        {
            _reader = work;
        }
        else
        {
            _writer = work;
        }
        var operation = Libc.EpollModify;
        if (_key == 0)
        {
            _key = Poller.Shared.Add(this);
            operation = Libc.EpollAdd;
        }
        if (TryControl(operation))
        {
            return true;
        }
        _reader = direction == Libc.EpollIn ? null : _reader;
        _writer = direction == Libc.EpollOut ? null : _writer;
        if (operation == Libc.EpollAdd)
        {
            Poller.Shared.Remove(_key);
            _key = 0;
        }
        return false;
    }

    private bool TryControl(int operation)
    {
        try
        {
            Poller.Shared.Control(operation, socket, Interest, _key);
            return true;
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            return false;
        }
    }

    private static void Queue(IThreadPoolWorkItem? work)
    {
        if (work is not null)
        {
            ThreadPool.UnsafeQueueUserWorkItem(work, preferLocal: false);
        }
    }
}
