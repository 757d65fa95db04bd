using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Transport;

/// <summary>How a socket's frames are read.</summary>
/// <param name="Dedicated">A thread of its own from the start: a client. Otherwise only while the connection is busy.</param>
/// <param name="Inline">Whether work that is alone may run on that thread.</param>
internal readonly record struct ReaderMode(bool Dedicated, bool Inline);

/// <summary>
/// Reads a socket's frames. Exactly one thread at a time has the reader's role, and with it all fields here; it gives the role
/// away as its last act. Running work inline is in SocketReader.Inline.cs.
/// </summary>
/// <remarks><code>
///   Parked   nobody reads; the poller starts a pump                           (servers)
///   Pump     a pool thread takes what is there, never waiting                 (servers)
///   Thread   a thread of ours waits in recv
///   Inline   that thread runs a handler or a continuation, and may lose the role meanwhile
///
///            bytes             busy, a thread is free         work
///   Parked --------> Pump ---------------------------> Thread ----------> Inline
///      ^              |                                 |   ^               | done in time
///      +--------------+---------------------------------+   +---------------+-- or too long:
///         nothing left        nothing for a while                               another Thread
///   Pump and Thread wait for a timer, without a thread, when all they get is of no use; then it is a Pump (servers).
///   Any state ends with the connection.
/// </code></remarks>
internal sealed partial class SocketReader(SocketConnection socket, int limit, IFrameSink sink, ReaderMode mode) : IThreadPoolWorkItem
{
    /// <summary>Busy is so many pumps within so many milliseconds.</summary>
    private const int BusyPumps = 8;
    private const int BusyWindow = 20;

    /// <summary>Reader threads of all servers' connections.</summary>
    private static readonly int s_maxThreads = Math.Max(2, Environment.ProcessorCount);
    private static int s_threads;

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly FrameReader _frames = new();
    private readonly ReceiveBuffer _buffer = new();
    private readonly UselessInput _useless = new();
    private int _delay; // milliseconds to wait before the next receive
    private long _busySince;
    private int _pumps;
    private readonly List<IThreadPoolWorkItem> _works = []; // what the frames of one receive brought
    private int _nextWork;
    private bool _waitLimited;

    /// <summary>Completes when the peer closes; transport errors and <see cref="FrameFormatException"/> come out.</summary>
    internal Task RunAsync()
    {
        if (mode.Dedicated)
        {
            StartThread();
        }
        else
        {
            Park();
        }
        return _ended.Task;
    }

    /// <summary>The pump.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        IThreadPoolWorkItem? last = null;
        try
        {
            for (var round = 0; round < FrameLoop.Rounds; round++)
            {
                if (Receive(wait: false) is not { } isFull)
                {
                    break;
                }
                TakeFrames();
                last = QueueAllButLast(last);
                if (!isFull || _delay > 0)
                {
                    break;
                }
            }
        }
        catch (EndOfStreamException)
        {
            End(null);
            return;
        }
        catch (Exception error) // the transport's or the peer's fault; the connection is over
        {
            End(error);
            return;
        }
        if (_delay > 0 || !IsBusy() || !TryStartThread())
        {
            Park();
        }
        // The role is given away, so this thread may as well do the work.
        last?.Execute();
    }

    private void StartThread() => new Thread(RunThread) { IsBackground = true, Name = "ttrpc reader" }.UnsafeStart();

    private bool TryStartThread()
    {
        if (Interlocked.Increment(ref s_threads) > s_maxThreads)
        {
            Interlocked.Decrement(ref s_threads);
            return false;
        }
        StartThread();
        return true;
    }

    private void RunThread()
    {
        try
        {
            if (!mode.Dedicated && !_waitLimited)
            {
                _waitLimited = true;
                socket.LimitReceiveWait();
            }
            s_noContext ??= ExecutionContext.Capture();
            QueueWorks(_works.Count); // of a thread that lost the role
            while (Receive(wait: true) is not null || mode.Dedicated)
            {
                TakeFrames();
                if (_works.Count > 0 && !RunWorks())
                {
                    return;
                }
                if (_delay > 0)
                {
                    break;
                }
            }
        }
        catch (EndOfStreamException)
        {
            LeaveThread();
            End(null);
            return;
        }
        catch (Exception error) // as in the pump
        {
            LeaveThread();
            End(error);
            return;
        }
        LeaveThread();
        Park();
    }

    private void LeaveThread()
    {
        StopInlining();
        if (!mode.Dedicated)
        {
            Interlocked.Decrement(ref s_threads);
        }
    }

    private void Park()
    {
        if (_buffer.IsEmpty)
        {
            _buffer.Release();
        }
        if (_delay > 0)
        {
            _ = PumpLaterAsync(_delay);
            return;
        }
        socket.WhenReadable(this);
    }

    private async Task PumpLaterAsync(int delay)
    {
        await Task.Delay(delay).ConfigureAwait(false);
        socket.WhenReadable(this);
    }

    /// <summary>Null when nothing came; else whether there may be more.</summary>
    private bool? Receive(bool wait)
    {
        _buffer.Reserve(_frames.Wanted(_buffer.ReceivedSpan));
        var free = _buffer.Free;
        if (socket.Receive(free, wait) is not { } count)
        {
            return null;
        }
        if (count == 0)
        {
            throw _buffer.IsEmpty && _frames.BetweenFrames
                ? new EndOfStreamException()
                : new FrameFormatException("The peer closed within a frame.");
        }
        _buffer.Add(count);
        return count == free.Length;
    }

    /// <summary>Takes the frames that are whole.</summary>
    private void TakeFrames()
    {
        var bytes = _buffer.Received;
        var received = bytes.Length;
        var count = 0;
        while (_frames.TryRead(ref bytes, limit, out var frame))
        {
            count++;
            if (sink.OnFrame(frame) is { } work)
            {
                _works.Add(work);
            }
        }
        _buffer.KeepLast(bytes.Length);
        _delay = _useless.Add(count, received - bytes.Length, sink.TakeUseful());
    }

    private IThreadPoolWorkItem? QueueAllButLast(IThreadPoolWorkItem? earlier)
    {
        if (_works.Count == 0)
        {
            return earlier;
        }
        if (earlier is not null)
        {
            ThreadPool.UnsafeQueueUserWorkItem(earlier, preferLocal: false);
        }
        var last = _works[^1];
        QueueWorks(_works.Count - 1);
        return last;
    }

    private void QueueWorks(int end)
    {
        while (_nextWork < end)
        {
            ThreadPool.UnsafeQueueUserWorkItem(_works[_nextWork++], preferLocal: false);
        }
        _works.Clear();
        _nextWork = 0;
    }

    private bool IsBusy()
    {
        var now = Environment.TickCount64;
        if (now - _busySince > BusyWindow)
        {
            (_busySince, _pumps) = (now, 0);
        }
        return ++_pumps >= BusyPumps;
    }

    private void End(Exception? error)
    {
        QueueWorks(_works.Count);
        _buffer.Release();
        if (error is null)
        {
            _ended.SetResult();
        }
        else
        {
            _ended.SetException(error);
        }
    }
}
