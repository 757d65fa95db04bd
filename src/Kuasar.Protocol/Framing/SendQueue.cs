namespace Kuasar.Protocol.Framing;

/// <summary>
/// Finished frames in the order in which they leave. Small ones are copied together; a large one keeps the buffer it was
/// serialised into. Filled under the write lock, sent from by one flusher.
/// </summary>
internal sealed class SendQueue
{
    /// <summary>From this size on a frame is not copied.</summary>
    internal const int WholeSize = 16 * 1024;

    private const int MaxChunk = 256 * 1024;

    private readonly List<OutputBuffer> _chunks = [];
    private OutputBuffer? _open; // the last chunk, when small frames may still be added to it
    private OutputBuffer? _spare;
    private int _first;
    private int _sent; // of the first chunk

    /// <summary>Bytes not yet consumed.</summary>
    internal int Length { get; private set; }

    internal int ChunkCount => _chunks.Count - _first;

    /// <summary>What is left of one chunk.</summary>
    internal ReadOnlyMemory<byte> Chunk(int index) => _chunks[_first + index].Written[(index == 0 ? _sent : 0)..];

    /// <summary>Adds a frame and returns the buffer for the writer's next: the same, or another when this one was kept.</summary>
    internal OutputBuffer Add(OutputBuffer frame)
    {
        Length += frame.Length;
        if (frame.Length >= WholeSize)
        {
            _chunks.Add(frame);
            _open = null;
            return new OutputBuffer();
        }
        if (_open is null || _open.Length + frame.Length > MaxChunk)
        {
            _open = _spare ?? new OutputBuffer();
            _spare = null;
            _chunks.Add(_open);
        }
        var bytes = frame.Written.Span;
        bytes.CopyTo(_open.GetSpan(bytes.Length));
        _open.Advance(bytes.Length);
        frame.Truncate(0);
        return frame;
    }

    /// <summary>So many bytes have left.</summary>
    internal void Consume(int count)
    {
        Length -= count;
        while (count > 0)
        {
            var rest = _chunks[_first].Length - _sent;
            if (count < rest)
            {
                _sent += count;
                return;
            }
            count -= rest;
            _sent = 0;
            _chunks[_first++].Release();
        }
        if (Length == 0)
        {
            Clear();
        }
    }

    /// <summary>Drops everything and gives the memory back. Not while somebody sends from it.</summary>
    internal void Clear()
    {
        for (; _first < _chunks.Count; _first++)
        {
            _chunks[_first].Release();
        }
        _spare = _open ?? _spare;
        _chunks.Clear();
        _open = null;
        _first = _sent = Length = 0;
    }
}
