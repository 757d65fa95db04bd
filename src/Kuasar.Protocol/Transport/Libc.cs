using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Kuasar.Protocol.Transport;

/// <summary>What .NET does not say about the system.</summary>
internal static partial class Libc
{
    private const int AtFdCwd = -100;
    private const int AtSymlinkNoFollow = 0x100;
    private const uint StatxTypeAndInode = 0x101;
    private const int StatxSize = 256;
    private const int ModeOffset = 28;
    private const int InodeOffset = 32;
    private const int DeviceOffset = 136;
    private const int FileTypeMask = 0xF000;
    private const int SocketType = 0xC000;

    [LibraryImport("libc", EntryPoint = "geteuid")]
    internal static partial uint GetEffectiveUserId();

    [LibraryImport("libc", EntryPoint = "getegid")]
    internal static partial uint GetEffectiveGroupId();

    /// <summary>Which file a path names, symbolic links not followed; null when there is none or it cannot be seen.</summary>
    internal static FileIdentity? Identify(string path)
    {
        // struct statx has the same layout everywhere, unlike struct stat.
        Span<byte> statx = stackalloc byte[StatxSize];
        if (Statx(AtFdCwd, path, AtSymlinkNoFollow, StatxTypeAndInode, statx) != 0)
        {
            return null;
        }
        var mode = MemoryMarshal.Read<ushort>(statx[ModeOffset..]);
        return new FileIdentity(
            MemoryMarshal.Read<ulong>(statx[DeviceOffset..]),
            MemoryMarshal.Read<ulong>(statx[InodeOffset..]),
            (mode & FileTypeMask) == SocketType);
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, Span<byte> result);
}

/// <summary>A file, whatever its name.</summary>
internal readonly record struct FileIdentity(ulong Device, ulong Inode, bool IsSocket);
