using System.Buffers;

namespace Kuasar.Protocol.Framing;

/// <summary>Arrays for bytes on their way in and out.</summary>
internal static class ByteArrays
{
    /// <summary>
    /// Above this, arrays come from a pool with few of them: the shared one keeps one of each size a thread, and dozens a core,
    /// which a few large messages make hundreds of megabytes.
    /// </summary>
    private const int MaxShared = 256 * 1024;

    private const int LargeArrays = 2; // of each size

    private static readonly ArrayPool<byte> Large = ArrayPool<byte>.Create(4 * FrameReader.MaxLength, LargeArrays);

    internal static byte[] Rent(int size) => PoolOf(size).Rent(size);

    /// <summary>Gives back what <see cref="Rent"/> gave; nothing for an empty one.</summary>
    internal static void Return(byte[] array)
    {
        if (array.Length > 0)
        {
            PoolOf(array.Length).Return(array);
        }
    }

    private static ArrayPool<byte> PoolOf(int size) => size > MaxShared ? Large : ArrayPool<byte>.Shared;
}
