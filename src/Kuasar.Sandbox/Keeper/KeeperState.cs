using System.Globalization;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>
/// What a keeper hands to the program that takes its place by execve: tables as bytes in a file in memory, and fds by number, which survive
/// since close-on-exec is taken from them. Nothing of it is ever on disk.
/// </summary>
internal static class KeeperState
{
    /// <summary>Tells a keeper that it takes another's place; its value is the fd of the file.</summary>
    internal const string Variable = "KUASAR_KEEPER_STATE";

    /// <summary>Asks a program only whether it could: it ends with 0 then.</summary>
    internal const string CheckVariable = "KUASAR_KEEPER_CHECK";

    internal const uint Magic = 0x4B50_5231, Version = 1;

    private const int MaxSize = 1 << 30;

    internal static SafeFileHandle Save(PacketWriter state)
    {
        var file = Libc.MemoryFile("kuasar-keeper");
        Libc.WriteAll(file, state.Written, "the keeper's state");
        return file;
    }

    /// <summary>All of the file; it is closed.</summary>
    internal static byte[] Load(string fd)
    {
        using var inherited = new SafeFileHandle(int.Parse(fd, CultureInfo.InvariantCulture), ownsHandle: true);
        // Opened anew, so that it is read from its beginning.
        using var file = Libc.Open($"/proc/self/fd/{fd}", Libc.O_RDONLY);
        return Libc.ReadToEnd(file, MaxSize, "the keeper's state");
    }

    internal static PacketWriter Handle(this PacketWriter writer, SafeFileHandle handle, List<SafeFileHandle> named)
    {
        named.Add(handle);
        return writer.Number((uint)handle.DangerousGetHandle());
    }

    /// <summary>An fd that came through the execve; ours, and close-on-exec again.</summary>
    internal static SafeFileHandle Handle(this ref PacketReader reader)
    {
        var handle = new SafeFileHandle((int)reader.Number(), ownsHandle: true);
        Libc.SetCloseOnExec(handle, true);
        return handle;
    }
}
