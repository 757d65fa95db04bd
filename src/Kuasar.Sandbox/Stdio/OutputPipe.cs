using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>What a process writes, for a client to read.</summary>
internal sealed class OutputPipe(StreamTable table, string id, SafeFileHandle reader, EventLoop loop) : StreamPipe(table, id, reader, loop)
{
    /// <summary>After the end, a client that says what it has taken has so long for the last of it.</summary>
    private static readonly TimeSpan s_lastWords = TimeSpan.FromSeconds(1);

    /// <summary>A process that writes line by line, and fast, has its lines sent together: those of this time.</summary>
    private static readonly TimeSpan s_batch = TimeSpan.FromMilliseconds(5);

    private const int SmallChunk = 1024;

    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly UntakenOutput _untaken = new();
    private byte[]? _buffer;
    private bool _isSmall;

    /// <summary>
    /// Sends what is written until all writers are gone. A client that goes before takes nothing with it that it has not taken: the next one gets
    /// that first.
    /// </summary>
    /// <param name="send">Takes a chunk, an empty one for the end; it must be done with the memory when it completes.</param>
    /// <param name="position">So much of all output this client has already.</param>
    /// <param name="window">What this client takes and has taken.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">The client's call.</param>
    internal Task CopyToAsync(
        Func<ReadOnlyMemory<byte>, CancellationToken, Task> send, long position, OutputWindow window, TimeProvider time, CancellationToken cancellationToken) =>
        RunClientAsync(
            async stop =>
            {
                _untaken.RemoveTo(position);
                var begin = _untaken.Position;
                try
                {
                    foreach (var chunk in _untaken.Chunks)
                    {
                        await SendAgainAsync(chunk, send, window, stop).ConfigureAwait(false);
                    }
                    while (await ReadAsync(window, time, stop).ConfigureAwait(false) is > 0 and var count)
                    {
                        Give();
                        // Before it is sent: who is cut off meanwhile may have it or not.
                        var chunk = _untaken.Add(_buffer.AsSpan(0, count));
                        await send(chunk, stop).ConfigureAwait(false);
                        window.Send(count);
                        Give();
                    }
                    if (!_untaken.IsEmpty)
                    {
                        await send(default, stop).ConfigureAwait(false);
                        await window.AllTakenAsync(s_lastWords, time, stop).ConfigureAwait(false);
                    }
                    _drained.TrySetResult();
                }
                finally
                {
                    Give();
                }

                void Give() => _untaken.RemoveTo(begin + window.Taken);
            },
            cancellationToken);

    private static async Task SendAgainAsync(
        ReadOnlyMemory<byte> chunk, Func<ReadOnlyMemory<byte>, CancellationToken, Task> send, OutputWindow window, CancellationToken cancellationToken)
    {
        while (!chunk.IsEmpty)
        {
            var part = chunk[..await window.RoomAsync(chunk.Length, cancellationToken).ConfigureAwait(false)];
            await send(part, cancellationToken).ConfigureAwait(false);
            window.Send(part.Length);
            chunk = chunk[part.Length..];
        }
    }

    private async Task<int> ReadAsync(OutputWindow window, TimeProvider time, CancellationToken cancellationToken)
    {
        var begin = time.GetTimestamp();
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            // Asked anew after each wait: the client may have said something meanwhile.
            var limit = await window.RoomAsync(ChunkSize, cancellationToken).ConfigureAwait(false);
            _buffer ??= GC.AllocateUninitializedArray<byte>(ChunkSize);
            var read = Libc.Read(Handle, _buffer.AsSpan(0, limit));
            switch (read)
            {
                case >= 0:
                    _isSmall = read < SmallChunk;
                    return read;
                case -Libc.EAGAIN:
                    // A process that is silent for hours holds no buffer.
                    _buffer = null;
                    await Loop.WaitAsync(Handle, EventLoop.In, cancellationToken).ConfigureAwait(false);
                    if (_isSmall && time.GetElapsedTime(begin) < s_batch)
                    {
                        await Task.Delay(s_batch, time, cancellationToken).ConfigureAwait(false);
                    }
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
        if (HasClient || !_untaken.IsEmpty || Libc.BytesAvailable(Handle) > 0)
        {
            await _drained.Task.EndsWithinAsync(limit, time).ConfigureAwait(false);
        }
    }
}
