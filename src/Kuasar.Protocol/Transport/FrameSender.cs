using System.IO.Pipelines;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Transport;

/// <summary>How a connection takes bytes. One call at a time, the flusher's.</summary>
internal abstract class FrameSender
{
    internal static FrameSender Of(Connection connection, StallGuard stall) =>
        SocketConnection.Direct(connection) is { } socket ? new SocketSender(socket, stall) : new PipeSender(connection, stall);

    /// <summary>Sends what can be sent without waiting; false when bytes are left. Throws when the connection is gone.</summary>
    internal abstract bool TrySend(SendQueue bytes);

    /// <summary>Sends everything. Throws when the connection is gone.</summary>
    internal abstract ValueTask SendAsync(SendQueue bytes);
}

/// <summary>Over a pipe. Nothing is sent on a caller's thread: what a pipe's flush runs is not ours to know.</summary>
internal sealed class PipeSender(Connection connection, StallGuard stall) : FrameSender
{
    private const int MaxChunk = 256 * 1024;

    internal override bool TrySend(SendQueue bytes) => false;

    internal override async ValueTask SendAsync(SendQueue bytes)
    {
        while (bytes.Length > 0)
        {
            // In pieces, so that a slow peer that does read is told from one that does not.
            var chunk = bytes.Chunk(0);
            chunk = chunk[..Math.Min(chunk.Length, MaxChunk)];
            var sent = connection.Transport.Output.WriteAsync(chunk);
            var result = sent.IsCompleted ? await sent.ConfigureAwait(false) : await WaitAsync(sent).ConfigureAwait(false);
            if (result.IsCompleted || result.IsCanceled)
            {
                throw new IOException("The peer reads no more.");
            }
            bytes.Consume(chunk.Length);
        }
    }

    private async ValueTask<FlushResult> WaitAsync(ValueTask<FlushResult> sent)
    {
        stall.Start();
        try
        {
            return await sent.ConfigureAwait(false);
        }
        finally
        {
            stall.Stop();
        }
    }
}

/// <summary>
/// Over a socket: at once as far as its buffer goes, then the flusher's thread waits a moment for a peer that reads, then the
/// poller waits for one that does not.
/// </summary>
internal sealed class SocketSender(SocketConnection socket, StallGuard stall) : FrameSender
{
    internal override bool TrySend(SendQueue bytes)
    {
        while (bytes.Length > 0)
        {
            if (socket.TrySend(bytes, wait: false) is not { } sent)
            {
                return false;
            }
            bytes.Consume(sent);
        }
        return true;
    }

    internal override ValueTask SendAsync(SendQueue bytes) =>
        TrySend(bytes) ? ValueTask.CompletedTask : new ValueTask(WaitAndSendAsync(bytes));

    private async Task WaitAndSendAsync(SendQueue bytes)
    {
        while (bytes.Length > 0)
        {
            if (socket.TrySend(bytes, wait: true) is { } sent)
            {
                bytes.Consume(sent);
                continue;
            }
            stall.Start();
            try
            {
                await socket.WaitWritableAsync().ConfigureAwait(false);
            }
            finally
            {
                stall.Stop();
            }
        }
    }
}
