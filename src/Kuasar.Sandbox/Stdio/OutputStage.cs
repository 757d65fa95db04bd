using System.Buffers.Binary;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// A pipe that a process's output goes through on its way to the client's fifo, and a note of how much came so far. Both are kept as the client's own
/// end is: a sandboxer may be killed between any two calls, and the next one knows what the client has, and has on its way. Not thread-safe.
/// </summary>
/// <remarks>
/// <code>
///   state      the note      in the pipe                     position
///   emptying   n, emptying   the last of n, on its way       n
///   filling    n, filling    what came since: it was empty   n and as many bytes as there are in the pipe
///
///   emptying, once empty: note "filling"; write into the pipe; note the new position, "emptying"; splice into the fifo until it is empty
/// </code>
/// Writing to the fifo itself would not do: whether a write that was not noted has been done, nobody can tell once the client has read.
/// </remarks>
internal sealed class OutputStage : IDisposable
{
    private readonly SafeFileHandle _note;
    private readonly SafeFileHandle _pipe;
    private int _staged;

    /// <summary>Goes on from where an earlier life was.</summary>
    /// <param name="note">As <see cref="NewNote"/> made it; owned.</param>
    /// <param name="pipe">As <see cref="NewPipe"/> made it; owned.</param>
    internal OutputStage(SafeFileHandle note, SafeFileHandle pipe)
    {
        (_note, _pipe) = (note, pipe);
        _staged = Libc.BytesAvailable(pipe);
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        var noted = RandomAccess.Read(note, bytes, 0) == bytes.Length ? BinaryPrimitives.ReadInt64LittleEndian(bytes) : 0;
        Position = noted >> 1;
        if ((noted & 1) != 0)
        {
            Position += _staged;
            Note(isFilling: false);
        }
    }

    internal static SafeFileHandle NewNote() => Libc.MemoryFile("kuasar-output");

    /// <summary>One fd for both ends.</summary>
    internal static SafeFileHandle NewPipe()
    {
        var (read, write) = Libc.Pipe();
        using (read)
        using (write)
        {
            return Libc.Open($"/proc/self/fd/{read.DangerousGetHandle()}", Libc.O_RDWR | Libc.O_NONBLOCK);
        }
    }

    /// <summary>How much came so far, in bytes, the staged included.</summary>
    internal long Position { get; private set; }

    internal bool IsEmpty => _staged == 0;

    /// <summary>Takes what there is room for, at least a byte; only while empty.</summary>
    /// <returns>How much, in bytes.</returns>
    internal int Fill(ReadOnlySpan<byte> bytes)
    {
        Note(isFilling: true);
        var written = Libc.Write(_pipe, bytes);
        if (written < 0)
        {
            throw new LinuxException("write to an output's stage", -written);
        }
        _staged = written;
        Pass(written);
        return written;
    }

    /// <summary>Notes what went past the pipe.</summary>
    internal void Pass(int count)
    {
        Position += count;
        Note(isFilling: false);
    }

    /// <summary>splice(2) once: what the fifo took, in bytes, or -errno; EAGAIN: it is full.</summary>
    internal int MoveTo(SafeFileHandle fifo)
    {
        var moved = Libc.Splice(_pipe, fifo, _staged);
        _staged -= Math.Max(moved, 0);
        return moved;
    }

    private void Note(bool isFilling)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, (Position << 1) | (isFilling ? 1L : 0));
        RandomAccess.Write(_note, bytes, 0);
    }

    public void Dispose()
    {
        _note.Dispose();
        _pipe.Dispose();
    }
}
