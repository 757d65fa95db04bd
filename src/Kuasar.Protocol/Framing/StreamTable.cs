using System.Diagnostics.CodeAnalysis;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// The live streams of a connection. An entry leaves exactly once, by whoever ends the stream (a leak here is what grew
/// containerd's shims, containerd#13561); <see cref="Removed"/> lets tests see that.
/// </summary>
internal sealed class StreamTable<T> where T : class
{
    private readonly Lock _lock = new();
    private readonly Dictionary<uint, T> _streams = [];
    private bool _closed;
    private int _count;

    /// <summary>As it was a moment ago.</summary>
    internal int Count => Volatile.Read(ref _count);

    internal long Removed { get; private set; }

    /// <summary>False when the id is live or the table is closed.</summary>
    internal bool TryAdd(uint id, T stream)
    {
        lock (_lock)
        {
            if (_closed || !_streams.TryAdd(id, stream))
            {
                return false;
            }
            _count++;
            return true;
        }
    }

    internal bool TryGet(uint id, [MaybeNullWhen(false)] out T stream)
    {
        lock (_lock)
        {
            return _streams.TryGetValue(id, out stream);
        }
    }

    /// <summary>Takes the entry out if it is still this stream's: an id may have been taken again by then.</summary>
    internal bool Remove(uint id, T stream)
    {
        lock (_lock)
        {
            if (!_streams.TryGetValue(id, out var found) || !ReferenceEquals(found, stream))
            {
                return false;
            }
            _streams.Remove(id);
            _count--;
            Removed++;
            return true;
        }
    }

    /// <summary>Refuses new streams from now on and gives back those that live, for their owner to end.</summary>
    internal T[] Close()
    {
        lock (_lock)
        {
            _closed = true;
            return [.. _streams.Values];
        }
    }
}
