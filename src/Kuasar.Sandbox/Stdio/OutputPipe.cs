using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>What a process writes, for a client to read.</summary>
internal sealed class OutputPipe(StreamTable table, string id, SafeFileHandle reader, EventLoop loop) : StreamPipe(table, id, reader, loop)
{
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private byte[]? _buffer;

    /// <summary>Read, and not taken by a client yet.</summary>
    private volatile int _unsent;

    /// <summary>Sends what is written until all writers are gone. A client that goes before takes nothing with it that it has not taken.</summary>
    /// <param name="send">Takes a chunk; it must be done with the memory when it completes.</param>
    /// <param name="room">Completes with how many bytes the client takes, at least one.</param>
    /// <param name="cancellationToken">The client's call.</param>
    internal Task CopyToAsync(
        Func<ReadOnlyMemory<byte>, CancellationToken, Task> send, Func<CancellationToken, ValueTask<int>> room, CancellationToken cancellationToken) =>
        RunClientAsync(
            async stop =>
            {
                while (true)
                {
                    if (_unsent == 0 && (_unsent = await ReadAsync(room, stop).ConfigureAwait(false)) == 0)
                    {
                        _drained.TrySetResult();
                        return;
                    }
                    await send(_buffer.AsMemory(0, _unsent), stop).ConfigureAwait(false);
                    _unsent = 0;
                }
            },
            cancellationToken);

    private async Task<int> ReadAsync(Func<CancellationToken, ValueTask<int>> room, CancellationToken cancellationToken)
    {
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            // Asked anew after each wait: the client may have said something meanwhile.
            var limit = await room(cancellationToken).ConfigureAwait(false);
            _buffer ??= GC.AllocateUninitializedArray<byte>(ChunkSize);
            var read = Libc.Read(Handle, _buffer.AsSpan(0, Math.Min(limit, ChunkSize)));
            switch (read)
            {
                case >= 0:
                    return read;
                case -Libc.EAGAIN:
                    // A process that is silent for hours holds no buffer.
                    _buffer = null;
                    await Loop.WaitAsync(Handle, EventLoop.In, cancellationToken).ConfigureAwait(false);
                    break;
                case not -Libc.EINTR:
                    throw new LinuxException($"read stream {Id}", -read);
            }
        }
    }

    /// <summary>
    /// After the process has ended: waits until a client has read all, at most so long. Where nobody reads and nothing is to be read, it waits for
    /// nobody.
    /// </summary>
    internal async Task DrainAsync(TimeSpan limit, TimeProvider time)
    {
        if (HasClient || _unsent > 0 || Libc.BytesAvailable(Handle) > 0)
        {
            await _drained.Task.EndsWithinAsync(limit, time).ConfigureAwait(false);
        }
    }
}
