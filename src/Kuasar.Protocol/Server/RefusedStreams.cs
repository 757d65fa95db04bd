namespace Kuasar.Protocol.Server;

/// <summary>
/// The last streams that never were and whose data was refused, so that each is answered once: thousands of frames may follow.
/// The reader's alone.
/// </summary>
internal sealed class RefusedStreams
{
    private const int Capacity = 32;

    private long[]? _ids; // made by the first peer that needs it; -1 is none
    private int _next;

    /// <summary>Whether this is the first refusal.</summary>
    internal bool TryAdd(uint id)
    {
        if (_ids is null)
        {
            _ids = new long[Capacity];
            Array.Fill(_ids, -1);
        }
        if (Array.IndexOf(_ids, id) >= 0)
        {
            return false;
        }
        _ids[_next++ % Capacity] = id;
        return true;
    }
}
