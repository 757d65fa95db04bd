using System.Runtime.InteropServices;

namespace Kuasar.Linux;

internal static unsafe partial class Libc
{
    internal const int MNT_DETACH = 2, UMOUNT_NOFOLLOW = 8;

    internal static void Mount(string source, string target, string? type, nuint flags, string? data) =>
        Check(mount(source, target, type, flags, data), $"mount {type} on {target}");

    /// <summary>Unmounts everything that is stacked on the folder; true when it was a mount point.</summary>
    /// <remarks>Lazily where it is busy: the mount must go even if a stray process still looks at it.</remarks>
    internal static bool UnmountAll(string target)
    {
        var any = false;
        while (true)
        {
            if (umount2(target, UMOUNT_NOFOLLOW) != 0 && (LastError != EBUSY || umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) != 0))
            {
                return LastError is EINVAL or ENOENT ? any : throw Error($"umount {target}");
            }
            any = true;
        }
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mount(string source, string target, string? type, nuint flags, string? data);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int umount2(string target, int flags);
}
