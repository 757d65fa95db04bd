namespace Kuasar.Protocol.Framing;

/// <summary>A call's deadline while it lies in a <see cref="DeadlineQueue"/>.</summary>
internal abstract class DeadlineEntry
{
    /// <summary>The provider's timestamp; the queue's, as is the place.</summary>
    internal long Due { get; set; }
    internal int Place { get; set; } = -1;

    /// <summary>On the timer's thread, outside of all locks: must not block.</summary>
    internal abstract void OnDeadline();
}

/// <summary>The deadlines of a connection's calls: a heap with one timer, which is armed only while there are any.</summary>
internal sealed class DeadlineQueue(TimeProvider time)
{
    /// <summary>Timers hold 49 days; what is due later is not kept here.</summary>
    internal static readonly TimeSpan Longest = TimeSpan.FromDays(45);

    private readonly double _ticks = time.TimestampFrequency / (double)TimeSpan.TicksPerSecond; // the provider's, per TimeSpan's
    private readonly Lock _lock = new();
    private readonly List<DeadlineEntry> _heap = []; // children of i: 2i+1, 2i+2; none is due before its parent
    private ITimer? _timer;
    private long _armed = long.MaxValue;

    internal void Add(DeadlineEntry entry, TimeSpan left)
    {
        lock (_lock)
        {
            entry.Due = time.GetTimestamp() + (long)Math.Ceiling(left.Ticks * _ticks);
            _heap.Add(entry);
            Up(_heap.Count - 1, entry);
            if (entry.Due < _armed)
            {
                Arm();
            }
        }
    }

    /// <summary>Takes the entry out if it is there still.</summary>
    internal void Remove(DeadlineEntry entry)
    {
        lock (_lock)
        {
            if (entry.Place >= 0)
            {
                TakeOut(entry.Place);
            }
            // Later than it need be is enough for the rest: the timer finds nothing due and is armed anew.
            if (_heap.Count == 0 && _armed != long.MaxValue)
            {
                Arm();
            }
        }
    }

    private void Fire()
    {
        lock (_lock)
        {
            _armed = long.MaxValue;
        }
        while (TakeDue() is { } entry)
        {
            entry.OnDeadline();
        }
    }

    private DeadlineEntry? TakeDue()
    {
        lock (_lock)
        {
            if (_heap.Count > 0 && _heap[0].Due <= time.GetTimestamp())
            {
                return TakeOut(0);
            }
            if (_heap.Count > 0 && _heap[0].Due < _armed)
            {
                Arm();
            }
            return null;
        }
    }

    private void Arm()
    {
        _timer ??= CreateTimer();
        _armed = _heap.Count == 0 ? long.MaxValue : _heap[0].Due;
        // Up to whole milliseconds, which is all that timers know.
        var due = _heap.Count == 0
            ? Timeout.InfiniteTimeSpan
            : TimeSpan.FromMilliseconds(Math.Max(0, Math.Ceiling(time.GetElapsedTime(time.GetTimestamp(), _armed).TotalMilliseconds)));
        _timer.Change(due, Timeout.InfiniteTimeSpan);
    }

    private ITimer CreateTimer()
    {
        // It serves every call, so it must not carry the AsyncLocals of the first.
        using (ExecutionContext.SuppressFlow())
        {
            return time.CreateTimer(
                static queue => ((DeadlineQueue)queue!).Fire(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }

    private DeadlineEntry TakeOut(int place)
    {
        var entry = _heap[place];
        entry.Place = -1;
        var last = _heap[^1];
        _heap.RemoveAt(_heap.Count - 1);
        if (!ReferenceEquals(last, entry))
        {
            Down(place, last);
            Up(last.Place, last);
        }
        return entry;
    }

    private void Up(int place, DeadlineEntry entry)
    {
        while (place > 0 && _heap[(place - 1) / 2] is var parent && parent.Due > entry.Due)
        {
            Put(place, parent);
            place = (place - 1) / 2;
        }
        Put(place, entry);
    }

    private void Down(int place, DeadlineEntry entry)
    {
        while ((2 * place) + 1 is var child && child < _heap.Count)
        {
            if (child + 1 < _heap.Count && _heap[child + 1].Due < _heap[child].Due)
            {
                child++;
            }
            if (_heap[child].Due >= entry.Due)
            {
                break;
            }
            Put(place, _heap[child]);
            place = child;
        }
        Put(place, entry);
    }

    private void Put(int place, DeadlineEntry entry)
    {
        _heap[place] = entry;
        entry.Place = place;
    }
}
