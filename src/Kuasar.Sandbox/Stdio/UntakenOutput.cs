namespace Kuasar.Sandbox.Stdio;

/// <summary>What a client was sent, or was to be, and has not said yet that it has it: the next client gets it again. For one thread at a time.</summary>
internal sealed class UntakenOutput
{
    /// <summary>More is not kept: clients' windows are smaller.</summary>
    private const int Limit = 64 * 1024;

    private readonly LinkedList<byte[]> _chunks = [];

    /// <summary>Of the first chunk, taken already.</summary>
    private int _offset;

    private volatile int _length;

    /// <summary>How much came before it.</summary>
    internal long Position { get; private set; }

    internal bool IsEmpty => _length == 0;

    /// <summary>All of it, in order; the memory is not written to again.</summary>
    internal IReadOnlyList<ReadOnlyMemory<byte>> Chunks => [.. _chunks.Select((chunk, i) => (ReadOnlyMemory<byte>)chunk.AsMemory(i == 0 ? _offset : 0))];

    /// <returns>Its copy, which is not written to again.</returns>
    internal ReadOnlyMemory<byte> Add(ReadOnlySpan<byte> bytes)
    {
        var chunk = bytes.ToArray();
        _chunks.AddLast(chunk);
        _length += chunk.Length;
        RemoveTo(Position + _length - Limit);
        return chunk;
    }

    /// <summary>What comes before the position is taken, or given up.</summary>
    internal void RemoveTo(long position)
    {
        while (Position < position && _chunks.First is { } first)
        {
            var part = (int)Math.Min(position - Position, first.Value.Length - _offset);
            (_offset, _length, Position) = (_offset + part, _length - part, Position + part);
            if (_offset == first.Value.Length)
            {
                _chunks.RemoveFirst();
                _offset = 0;
            }
        }
    }
}
