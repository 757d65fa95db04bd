using System.Net.Sockets;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Hypervisors.Rest;

/// <summary>A connection whose first write carries open files. The server keeps them for the request that these bytes begin.</summary>
internal sealed class HandleSendingStream(Socket socket, IReadOnlyList<SafeFileHandle> handles) : NetworkStream(socket, ownsSocket: true)
{
    private bool _sent;

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (!_sent && buffer.Length > 0)
        {
            _sent = true;
            // Nothing has been sent on this connection, so there is room, and it does not wait.
            buffer = buffer[Libc.SendWithHandles(Socket.SafeHandle, buffer.Span, [.. handles])..];
        }
        await base.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(ReadOnlySpan<byte> buffer) => throw new NotSupportedException("asynchronous writes only");

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("asynchronous writes only");
}
