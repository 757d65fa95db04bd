using System.Globalization;
using System.Runtime.InteropServices;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Support;

/// <summary>The side of the system that only the tests play: the client's and the OCI runtime's.</summary>
internal static unsafe partial class Native
{
    internal static void MakeFifo(string path) => Libc.Check(mkfifo(path, 0x180), $"mkfifo {path}");

    /// <summary>A pty: its master, and the path of its slave.</summary>
    internal static (SafeFileHandle Master, string Slave) OpenTerminal()
    {
        const uint TIOCSPTLCK = 0x40045431, TIOCGPTN = 0x80045430;
        var master = Libc.Open("/dev/ptmx", Libc.O_RDWR | Libc.O_NOCTTY);
        int value = 0;
        Libc.Check(ioctl(master, TIOCSPTLCK, &value), "TIOCSPTLCK");
        Libc.Check(ioctl(master, TIOCGPTN, &value), "TIOCGPTN");
        return (master, "/dev/pts/" + value.ToString(CultureInfo.InvariantCulture));
    }

    internal static (int Columns, int Rows) WindowSize(SafeFileHandle terminal)
    {
        const uint TIOCGWINSZ = 0x5413;
        var size = stackalloc ushort[4];
        Libc.Check(ioctl(terminal, TIOCGWINSZ, size), "TIOCGWINSZ");
        return (size[1], size[0]);
    }

    /// <summary>Connects and sends one message with these fds, as an OCI runtime sends a terminal.</summary>
    internal static void SendHandles(string socket, params SafeFileHandle[] handles)
    {
        using var peer = Libc.TryConnect(socket, TimeSpan.FromSeconds(5)) ?? throw Libc.Error($"connect {socket}");
        var name = "/dev/ptmx"u8.ToArray();
        fixed (byte* text = name)
        {
            var iov = stackalloc nint[2] { (nint)text, name.Length };
            var control = stackalloc byte[64];
            new Span<byte>(control, 64).Clear();
            *(long*)control = 16 + (4 * handles.Length);
            *(int*)(control + 8) = 1; // SOL_SOCKET
            *(int*)(control + 12) = 1; // SCM_RIGHTS
            for (var i = 0; i < handles.Length; i++)
            {
                *(int*)(control + 16 + (4 * i)) = (int)handles[i].DangerousGetHandle();
            }
            var message = stackalloc nint[7] { 0, 0, (nint)iov, 1, handles.Length == 0 ? 0 : (nint)control, handles.Length == 0 ? 0 : 16 + (4 * handles.Length), 0 };
            Libc.Check(sendmsg(peer, message, 0), "sendmsg");
        }
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mkfifo(string path, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(SafeFileHandle handle, nuint request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendmsg(SafeFileHandle socket, nint* message, int flags);
}
