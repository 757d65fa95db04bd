using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>What a client writes, for a process to read.</summary>
/// <remarks>
/// The process reads the end when a client has closed its side, or after CloseIO when no client is there. A client that is merely gone, as a
/// host that is killed, closes nothing.
/// </remarks>
internal sealed class InputPipe(StreamTable table, string id, SafeFileHandle writer, EventLoop loop) : StreamPipe(table, id, writer, loop)
{
    private long _position;

    /// <summary>Passes on what the client sends until it closes its side, or the process has closed its own.</summary>
    /// <param name="begin">Told how many bytes the process has taken from earlier clients, when it is this one's turn.</param>
    /// <param name="receive">The next bytes; null when the client has closed its side.</param>
    /// <param name="taken">Told how many bytes the process has taken.</param>
    /// <param name="cancellationToken">The client's call.</param>
    internal Task CopyFromAsync(
        Func<long, CancellationToken, Task> begin,
        Func<CancellationToken, Task<ReadOnlyMemory<byte>?>> receive,
        Func<int, CancellationToken, Task> taken,
        CancellationToken cancellationToken) =>
        RunClientAsync(
            async stop =>
            {
                await begin(_position, stop).ConfigureAwait(false);
                while (await receive(stop).ConfigureAwait(false) is { } bytes)
                {
                    if (!await WriteAsync(bytes, stop).ConfigureAwait(false))
                    {
                        break;
                    }
                    await taken(bytes.Length, stop).ConfigureAwait(false);
                }
                // Our own end goes when this client has left.
                Dispose();
            },
            cancellationToken);

    /// <summary>False: nobody reads any more.</summary>
    private async Task<bool> WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (bytes.Length > 0)
        {
            var written = Libc.Write(Handle, bytes.Span);
            switch (written)
            {
                case >= 0:
                    bytes = bytes[written..];
                    _position += written;
                    break;
                case -Libc.EAGAIN:
                    await Loop.WaitAsync(Handle, EventLoop.Out, cancellationToken).ConfigureAwait(false);
                    break;
                case -Libc.EPIPE:
                    return false;
                case not -Libc.EINTR:
                    throw new LinuxException($"write stream {Id}", -written);
            }
        }
        return true;
    }

    /// <summary>CloseIO: no more will come than what a client that is there still sends.</summary>
    internal void CloseAfterClient()
    {
        if (!HasClient)
        {
            Dispose();
        }
    }
}
