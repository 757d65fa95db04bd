using System.Diagnostics;

namespace Kuasar.Protocol.Transport;

/// <content>
/// Work on the reader thread: without the hop to the pool, a lone call takes half the time. It is code of others, which may
/// take long or wait for this very connection; so after a millisecond or two <see cref="InlineMonitor"/> gives the reader's role
/// to a new thread, and this one ends with the work. Either way such a connection does without for a while.
/// </content>
internal sealed partial class SocketReader
{
    /// <summary>Work that takes longer would rather have run beside the reader.</summary>
    private static readonly long s_slow = Stopwatch.Frequency / 5_000;

    private const int FirstPause = 10;
    private const int LongestPause = 1_000;

    /// <summary>So many quick runs in a row and the next pause is a short one again.</summary>
    private const int Forgiven = 64;

    private static ExecutionContext? s_noContext; // as a thread has it that nobody's context flowed to

    [ThreadStatic]
    private static SocketReader? t_running;

    private int _turn; // odd while work runs inline; whoever makes it even has the reader's role
    private int _seenTurn; // the monitor's
    private long _pausedUntil;
    private int _pause = FirstPause;
    private int _quick;
    private bool _watched;

    private bool MayInline =>
        mode.Inline && sink.IsAlone && (_pausedUntil == 0 || Environment.TickCount64 >= _pausedUntil);

    /// <summary>The calling thread is about to wait. If it is a reader that runs work, another reads from now on.</summary>
    internal static void BeforeWait()
    {
        if (t_running is { } reader && Volatile.Read(ref reader._turn) is var turn && (turn & 1) != 0)
        {
            t_running = null;
            reader.TryTakeOver(turn);
        }
    }

    /// <summary>The monitor's look: whether work ran since the last one. Takes the role from work that has not ended since.</summary>
    internal bool Check()
    {
        var turn = Volatile.Read(ref _turn);
        if (turn == _seenTurn)
        {
            return (turn & 1) != 0 && TryTakeOver(turn);
        }
        _seenTurn = turn;
        return true;
    }

    internal bool RunsInline => (Volatile.Read(ref _turn) & 1) != 0;

    /// <summary>False: the role is another thread's.</summary>
    private bool RunInline(IThreadPoolWorkItem work)
    {
        if (!_watched)
        {
            _watched = true;
            InlineMonitor.Add(this);
        }
        var turn = _turn + 1;
        // A full fence: the monitor, falling asleep, either sees this or is seen asleep.
        Interlocked.Exchange(ref _turn, turn);
        InlineMonitor.Wake();
        t_running = this;
        var start = Stopwatch.GetTimestamp();
        work.Execute();
        t_running = null;
        ForgetContext();
        if (Interlocked.CompareExchange(ref _turn, turn + 1, turn) != turn)
        {
            return false;
        }
        if (Stopwatch.GetTimestamp() - start > s_slow)
        {
            Pause();
        }
        else if (++_quick == Forgiven)
        {
            _pause = FirstPause;
        }
        return true;
    }

    private bool TryTakeOver(int turn)
    {
        if (Interlocked.CompareExchange(ref _turn, turn + 1, turn) != turn)
        {
            return false;
        }
        Pause();
        StartThread();
        return true;
    }

    private void Pause()
    {
        _pausedUntil = Environment.TickCount64 + _pause;
        _pause = Math.Min(_pause * 2, LongestPause);
        _quick = 0;
    }

    private void StopInlining()
    {
        if (_watched)
        {
            _watched = false;
            InlineMonitor.Remove(this);
        }
    }

    // What work leaves behind in the thread must not reach the next one's.
    private static void ForgetContext()
    {
        if (s_noContext is not null)
        {
            ExecutionContext.Restore(s_noContext);
        }
        if (SynchronizationContext.Current is not null)
        {
            SynchronizationContext.SetSynchronizationContext(null);
        }
    }
}
