using System.Diagnostics;

namespace Kuasar.Protocol.Transport;

/// <content>
/// Work on the reader thread. Short work costs less than handing it to the pool; without the hop a lone call takes half the time,
/// and what a batch of calls sends leaves together, in shares, so that the peer works on one while the next is made. But it is code of
/// others: work that is not short goes to the pool,
/// and work that takes long, or waits for this very connection, loses the reader's role to a new thread after a millisecond or
/// two (<see cref="InlineMonitor"/>). Then its thread ends with it.
/// </content>
internal sealed partial class SocketReader
{
    /// <summary>
    /// About what it costs to have work run by the pool. Also how long what works write gathers: measured with 64 callers, where 100 µs
    /// let the two sides take turns, at half the calls, and 2 µs spent more on sending than it gained.
    /// </summary>
    private static readonly long s_short = Stopwatch.Frequency / 100_000;

    /// <summary>Others shall not wait so long for their work.</summary>
    private static readonly long s_long = Stopwatch.Frequency / 10_000;

    /// <summary>So many works that are not short, in excess of short ones, and the pool has a turn.</summary>
    private const int MaxExcess = 8;

    /// <summary>Works that the pool then gets; twice as many the next time.</summary>
    private const int FirstPause = 32;
    private const int LongestPause = 4096;

    /// <summary>So many short ones and the next pause is a short one again.</summary>
    private const int Forgiven = 64;

    private static ExecutionContext? s_noContext; // as a thread has it that nobody's context flowed to

    [ThreadStatic]
    private static SocketReader? t_running;

    private int _turn; // odd while work runs inline; whoever makes it even has the reader's role
    private int _seenTurn; // the monitor's
    private int _paused; // works left
    private int _pause = FirstPause;
    private int _shortOnes;
    private int _excess;
    private bool _watched;

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

    /// <summary>Has the work done, here or by the pool. False: the role is another thread's.</summary>
    private bool RunWorks()
    {
        if (!mode.Inline || _paused > 0)
        {
            _paused -= Math.Min(_paused, _works.Count);
            QueueWorks(_works.Count);
            return true;
        }
        if (!_watched)
        {
            _watched = true;
            InlineMonitor.Add(this);
        }
        sink.Writer.Hold();
        var start = Stopwatch.GetTimestamp();
        var held = start;
        while (_nextWork < _works.Count)
        {
            if (!TryRun(_works[_nextWork++]))
            {
                return false;
            }
            var end = Stopwatch.GetTimestamp();
            Judge(end - start);
            if (_paused > 0)
            {
                break;
            }
            if (end - held > s_short)
            {
                sink.Writer.Release();
                sink.Writer.Hold();
                held = end;
            }
            start = end;
        }
        sink.Writer.Release();
        QueueWorks(_works.Count);
        return true;
    }

    private bool TryRun(IThreadPoolWorkItem work)
    {
        var turn = _turn + 1;
        // A full fence: the monitor, falling asleep, either sees this or is seen asleep.
        Interlocked.Exchange(ref _turn, turn);
        InlineMonitor.Wake();
        t_running = this;
        work.Execute();
        t_running = null;
        ForgetContext();
        return Interlocked.CompareExchange(ref _turn, turn + 1, turn) == turn;
    }

    private bool TryTakeOver(int turn)
    {
        if (Interlocked.CompareExchange(ref _turn, turn + 1, turn) != turn)
        {
            return false;
        }
        Pause();
        sink.Writer.ReleaseLater();
        StartThread();
        return true;
    }

    private void Judge(long time)
    {
        if (time > s_long || (time > s_short && ++_excess >= MaxExcess))
        {
            Pause();
        }
        else if (time <= s_short)
        {
            _excess -= Math.Min(_excess, 1);
            if (++_shortOnes == Forgiven)
            {
                _pause = FirstPause;
            }
        }
    }

    private void Pause()
    {
        _paused = _pause;
        _pause = Math.Min(_pause * 2, LongestPause);
        _shortOnes = _excess = 0;
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
