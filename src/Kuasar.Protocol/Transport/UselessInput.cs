namespace Kuasar.Protocol.Transport;

/// <summary>
/// What a peer has sent since a frame of it was last of use. Refusing and throwing away costs the processors that other
/// connections need too, and no answer makes such a peer stop; so its bytes are read slowly, without anybody's thread. The reader's.
/// </summary>
internal sealed class UselessInput
{
    /// <summary>So many frames or bytes are nothing unusual: what crosses the end of a stream, or one message that is too large.</summary>
    internal const int PatientFrames = 1000;
    internal const int PatientBytes = 1 << 20;

    /// <summary>Milliseconds for each receive, and for each 64 KiB of it; one more for each MiB that came before.</summary>
    private const int Slowest = 8;

    /// <summary>Also how long our own closing may go unnoticed.</summary>
    private const int LongestWait = 64;

    private int _frames;
    private long _bytes;

    /// <summary>The reader has taken what is whole of what it has received.</summary>
    /// <returns>Milliseconds to wait before the next receive; 0 is none.</returns>
    internal int Add(int frames, long bytes, bool useful)
    {
        if (useful)
        {
            (_frames, _bytes) = (0, 0);
            return 0;
        }
        _frames = (int)Math.Min((long)_frames + frames, PatientFrames);
        _bytes += bytes;
        return _frames < PatientFrames && _bytes < PatientBytes
            ? 0
            : (int)Math.Min(Math.Clamp(_bytes >> 20, 1, Slowest) * Math.Max(1, bytes >> 16), LongestWait);
    }
}
