namespace Kuasar.Protocol.Transport;

/// <summary>
/// Looks at the readers that run work inline about once a millisecond, and sleeps when none has for a while. One thread for the
/// process, started by the first.
/// </summary>
internal static class InlineMonitor
{
    private const int Tick = 1;

    /// <summary>Ticks without inline work before it sleeps.</summary>
    private const int Patience = 100;

    private static readonly Lock s_lock = new();
    private static readonly List<SocketReader> s_readers = [];
    private static readonly AutoResetEvent s_wake = new(false);
    private static bool s_started;
    private static volatile bool s_asleep;

    internal static void Add(SocketReader reader)
    {
        lock (s_lock)
        {
            s_readers.Add(reader);
            if (!s_started)
            {
                s_started = true;
                new Thread(Run) { IsBackground = true, Name = "ttrpc monitor" }.UnsafeStart();
            }
        }
    }

    internal static void Remove(SocketReader reader)
    {
        lock (s_lock)
        {
            s_readers.Remove(reader);
        }
    }

    internal static void Wake()
    {
        if (s_asleep)
        {
            s_asleep = false;
            s_wake.Set();
        }
    }

    private static void Run()
    {
        var quiet = 0;
        while (true)
        {
            Thread.Sleep(Tick);
            if (AnyRan())
            {
                quiet = 0;
            }
            else if (++quiet >= Patience)
            {
                Sleep();
                quiet = 0;
            }
        }
    }

    private static bool AnyRan()
    {
        var ran = false;
        lock (s_lock)
        {
            foreach (var reader in s_readers)
            {
                ran |= reader.Check();
            }
        }
        return ran;
    }

    private static void Sleep()
    {
        s_asleep = true;
        Interlocked.MemoryBarrier(); // against Wake: see RunInline
        lock (s_lock)
        {
            if (s_readers.Exists(static reader => reader.RunsInline))
            {
                s_asleep = false;
                return;
            }
        }
        s_wake.WaitOne();
        s_asleep = false;
    }
}
