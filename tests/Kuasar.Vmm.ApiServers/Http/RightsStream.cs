using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.ApiServers.Http;

/// <summary>A connection that keeps the open files which come beside its bytes (SCM_RIGHTS), until they are taken.</summary>
internal sealed unsafe partial class RightsStream(Socket socket) : NetworkStream(socket, ownsSocket: true)
{
    private const int MaxHandles = 16, Header = 16, CloseOnExec = 0x40000000;

    private readonly List<SafeFileHandle> _files = [];

    /// <summary>What has come since the last time.</summary>
    internal IReadOnlyList<SafeFileHandle> TakeFiles()
    {
        SafeFileHandle[] taken = [.. _files];
        _files.Clear();
        return taken;
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Receive(buffer.Span), cancellationToken));

    private int Receive(Span<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            var vector = stackalloc nint[2] { (nint)p, buffer.Length };
            var control = stackalloc byte[Header + MaxHandles * sizeof(int)];
            var message = stackalloc nint[7] { 0, 0, (nint)vector, 1, (nint)control, Header + MaxHandles * sizeof(int), 0 };
            var length = (int)recvmsg((int)Socket.Handle, message, CloseOnExec);
            if (length < 0)
            {
                throw new IOException($"recvmsg: {Marshal.GetLastPInvokeError()}");
            }
            for (var at = Header; message[5] > Header && at < *(nint*)control; at += sizeof(int))
            {
                _files.Add(new SafeFileHandle(*(int*)(control + at), ownsHandle: true));
            }
            return length;
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvmsg(int fd, nint* message, int flags);
}
