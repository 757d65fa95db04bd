using System.Buffers.Binary;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// How many bytes of a process's output its client has been given, in a file in memory that is kept as the client's own end is: a sandboxer that is
/// killed between two writes neither repeats nor skips any.
/// </summary>
/// <param name="file">Owned.</param>
internal sealed class OutputCount(SafeFileHandle file) : IDisposable
{
    internal static SafeFileHandle NewFile() => Libc.MemoryFile("kuasar-output");

    internal long Get()
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        return RandomAccess.Read(file, bytes, 0) == bytes.Length ? BinaryPrimitives.ReadInt64LittleEndian(bytes) : 0;
    }

    internal void Set(long count)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, count);
        RandomAccess.Write(file, bytes, 0);
    }

    public void Dispose() => file.Dispose();
}
