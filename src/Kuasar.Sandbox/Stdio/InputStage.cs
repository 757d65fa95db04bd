using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// What was read of a client's fifo, and how much that was, in a file in memory that is kept as the client's own end is. The kernel moves bytes into it
/// and counts them by the file's offset, in one call: a sandboxer that is killed has none in its hands, and the next one reads again what the
/// process had not taken. Not thread-safe.
/// </summary>
/// <param name="file">As <see cref="NewFile"/> made it; owned.</param>
internal sealed class InputStage(SafeFileHandle file) : IDisposable
{
    /// <summary>So much of the last can be read again: more than is under way to a process.</summary>
    internal const int Kept = 128 * 1024;

    /// <summary>What is not kept any more is given back so much at a time.</summary>
    private const int Batch = 64 * 1024;

    private long _forgotten;

    internal static SafeFileHandle NewFile() => Libc.MemoryFile("kuasar-input");

    /// <summary>How much was read of the fifo.</summary>
    internal long End { get; private set; } = Libc.Offset(file);

    internal long Begin => Math.Max(0, End - Kept);

    /// <summary>Counts from there: what earlier lives had read has gone with their keeper.</summary>
    internal void SkipTo(long end)
    {
        Libc.SetOffset(file, end);
        End = end;
    }

    /// <summary>splice(2) once: how much came, in bytes, 0 at the end, or -errno.</summary>
    internal int Fill(SafeFileHandle fifo, int count)
    {
        var moved = Libc.Splice(fifo, file, count);
        End += Math.Max(moved, 0);
        if (Begin - _forgotten >= Batch)
        {
            _forgotten = Begin;
            Libc.Forget(file, _forgotten);
        }
        return moved;
    }

    /// <summary>What follows a position between <see cref="Begin"/> and <see cref="End"/>, as much as there is room for.</summary>
    internal int Read(Span<byte> buffer, long position) => RandomAccess.Read(file, buffer[..(int)Math.Min(buffer.Length, End - position)], position);

    public void Dispose() => file.Dispose();
}
