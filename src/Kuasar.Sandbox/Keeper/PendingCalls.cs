using System.Buffers;

namespace Kuasar.Sandbox.Keeper;

/// <summary>A request that has no answer yet, whole as it came.</summary>
internal sealed class PendingCall
{
    private byte[] _frame = [];
    private int _length;

    internal uint StreamId { get; private set; }

    internal CallRule Rule { get; private set; }

    /// <summary>Where its last byte stands in all that was sent to the sandboxer; <see cref="long.MaxValue"/>: it is held back.</summary>
    internal long End { get; set; }

    internal ReadOnlySpan<byte> Frame => _frame.AsSpan(0, _length);

    internal void Set(ReadOnlySpan<byte> frame, CallRule rule)
    {
        _frame = ArrayPool<byte>.Shared.Rent(frame.Length);
        _length = frame.Length;
        frame.CopyTo(_frame);
        (StreamId, Rule, End) = (TtrpcFrame.StreamId(frame), rule, long.MaxValue);
    }

    internal void Clear()
    {
        ArrayPool<byte>.Shared.Return(_frame);
        (_frame, _length) = ([], 0);
    }
}

/// <summary>The calls of one connection that have no answer yet, in the order in which they came.</summary>
internal sealed class PendingCalls
{
    private static readonly Stack<PendingCall> Unused = new();

    // A dictionary keeps no order when entries are removed, and a connection has few calls but Waits.
    private readonly Dictionary<uint, LinkedListNode<PendingCall>> _byStream = [];
    private readonly LinkedList<PendingCall> _all = new();

    internal int Count => _all.Count;

    /// <summary>Bytes of requests that are kept.</summary>
    internal long Bytes { get; private set; }

    internal IEnumerable<PendingCall> All => _all;

    internal bool Contains(uint streamId) => _byStream.ContainsKey(streamId);

    internal PendingCall Add(ReadOnlySpan<byte> frame, CallRule rule)
    {
        var call = Unused.TryPop(out var unused) ? unused : new PendingCall();
        call.Set(frame, rule);
        Bytes += frame.Length;
        _byStream.Add(call.StreamId, _all.AddLast(call));
        return call;
    }

    /// <summary>It is asked again, and says so.</summary>
    internal void Mark(PendingCall call)
    {
        var frame = TtrpcFrame.Mark(call.Frame);
        Bytes += frame.Length - call.Frame.Length;
        var rule = call.Rule;
        call.Clear();
        call.Set(frame, rule);
    }

    internal bool Remove(uint streamId)
    {
        if (!_byStream.Remove(streamId, out var node))
        {
            return false;
        }
        _all.Remove(node);
        Bytes -= node.Value.Frame.Length;
        node.Value.Clear();
        if (Unused.Count < 64)
        {
            Unused.Push(node.Value);
        }
        return true;
    }

    internal void Clear()
    {
        foreach (var streamId in _byStream.Keys.ToArray())
        {
            Remove(streamId);
        }
    }
}
