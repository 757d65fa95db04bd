using System.IO.Pipelines;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Transport;

/// <summary>Takes frames off a connection. Must not block: every stream of the connection waits meanwhile.</summary>
internal interface IFrameSink
{
    /// <summary>
    /// Takes one frame. What it brings about in code of others (a handler to run, a waiter to wake) comes back as a work item,
    /// which the loop has run by the pool or, sometimes, runs itself.
    /// </summary>
    IThreadPoolWorkItem? OnFrame(in Frame frame);

    /// <summary>The sending half of the connection.</summary>
    FrameWriter Writer { get; }

    /// <summary>Whether a frame since the last time was of use, rather than refused or thrown away. The reader's.</summary>
    bool TakeUseful();
}

/// <summary>The one reader loop, for both ends; sockets have the same shape without the awaits (<see cref="SocketReader"/>).</summary>
internal static class FrameLoop
{
    /// <summary>Receives, or sends, of one turn on the pool before others have theirs.</summary>
    internal const int Rounds = 16;

    /// <summary>Reads until the peer closes. Transport errors and <see cref="FrameFormatException"/> come out.</summary>
    /// <param name="connection">Read by nobody else.</param>
    /// <param name="limit">Largest frame data.</param>
    /// <param name="sink">Gets the frames.</param>
    /// <param name="mode">Of sockets; other connections are read by the pool.</param>
    internal static Task RunAsync(Connection connection, int limit, IFrameSink sink, ReaderMode mode) =>
        SocketConnection.Direct(connection) is { } socket
            ? new SocketReader(socket, limit, sink, mode).RunAsync()
            : RunAsync(connection.Transport.Input, limit, sink);

    private static async Task RunAsync(PipeReader input, int limit, IFrameSink sink)
    {
        var frames = new FrameReader();
        var useless = new UselessInput();
        var rounds = 0;
        while (true)
        {
            var reading = input.ReadAsync();
            if (!reading.IsCompleted)
            {
                rounds = 0;
            }
            else if (++rounds == Rounds)
            {
                rounds = 0;
                await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            }
            var result = await reading.ConfigureAwait(false);
            var buffer = result.Buffer;
            var received = buffer.Length;
            var count = 0;
            try
            {
                while (frames.TryRead(ref buffer, limit, out var frame))
                {
                    count++;
                    if (sink.OnFrame(frame) is { } work)
                    {
                        ThreadPool.UnsafeQueueUserWorkItem(work, preferLocal: false);
                    }
                }
                if (result.IsCanceled)
                {
                    return;
                }
                if (result.IsCompleted)
                {
                    if (!buffer.IsEmpty || !frames.BetweenFrames)
                    {
                        throw new FrameFormatException("The peer closed within a frame.");
                    }
                    return;
                }
            }
            finally
            {
                input.AdvanceTo(buffer.Start, buffer.End);
            }
            if (useless.Add(count, received - buffer.Length, sink.TakeUseful()) is var wait and > 0)
            {
                await Task.Delay(wait).ConfigureAwait(false);
            }
        }
    }
}
