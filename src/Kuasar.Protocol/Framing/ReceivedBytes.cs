namespace Kuasar.Protocol.Framing;

/// <summary>
/// What a connection's received messages take that are still held: by a handler that has its request, or in a stream that is
/// not read yet. The reader takes; whoever ends or reads gives back.
/// </summary>
internal sealed class ReceivedBytes(long limit)
{
    private long _held;

    internal long Held => Volatile.Read(ref _held);

    /// <summary>False, and nothing is taken, past the limit. Anything fits while nothing else is held. The reader's alone.</summary>
    internal bool TryTake(long size)
    {
        var held = Held;
        if (held > 0 && held + size > limit)
        {
            return false;
        }
        Interlocked.Add(ref _held, size);
        return true;
    }

    internal void GiveBack(long size) => Interlocked.Add(ref _held, -size);
}
