using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Transport;

internal enum WriteResult
{
    Written,

    /// <summary>Too many bytes wait: await <see cref="FrameWriter.Room"/> and try again.</summary>
    Full,

    /// <summary>The connection is gone.</summary>
    Closed,

    /// <summary>The stream ended meanwhile; nothing may follow its last frame.</summary>
    Ended,

    /// <summary>A client has used all its stream ids.</summary>
    Exhausted,
}

/// <summary>
/// The sending half of a connection. Frames are written under <see cref="Gate"/> into one buffer; a work item sends what has
/// gathered, so frames of concurrent calls leave together (the measured throughput lever). The bytes that wait are bounded;
/// waiting for room is the writers' business, with their own deadlines.
/// </summary>
internal sealed class FrameWriter(
    Connection connection, FrameBuilder frame, int limit, StallGuard stall, Action<Exception> onFailed, SideMetrics metrics)
    : IThreadPoolWorkItem
{
    internal const byte StatusTag = (1 << 3) | 2;
    internal const byte ResponsePayloadTag = (2 << 3) | 2;
    private const int MaxChunk = 256 * 1024;

    private OutputBuffer _filling = new();
    private OutputBuffer _sending = new();
    private TaskCompletionSource? _room;
    private bool _flushing;

    /// <summary>Held while a frame is written; never while anything waits.</summary>
    internal Lock Gate { get; } = new();

    /// <summary>Under <see cref="Gate"/>.</summary>
    internal bool IsClosed { get; private set; }

    /// <summary>Bytes waiting to be sent, those being sent included. Under <see cref="Gate"/>.</summary>
    internal int Pending => _filling.Length + (_flushing ? _sending.Length : 0);

    /// <summary>Whether a frame may be added: the limit is passed by one frame at most. Under <see cref="Gate"/>.</summary>
    internal bool HasRoom => Pending < limit;

    /// <summary>Completes when bytes left or the connection ended. Taken after a write was <see cref="WriteResult.Full"/>.</summary>
    internal Task Room
    {
        get
        {
            lock (Gate)
            {
                return IsClosed || HasRoom ? Task.CompletedTask : Progress();
            }
        }
    }

    /// <summary>Begins a frame; <see cref="Commit"/> or <see cref="FrameBuilder.Cancel"/> follows. Under <see cref="Gate"/>.</summary>
    internal FrameBuilder Begin(FrameType type, FrameFlags flags, uint streamId)
    {
        frame.Begin(_filling, type, flags, streamId);
        return frame;
    }

    /// <summary>Has the finished frames sent. Under <see cref="Gate"/>.</summary>
    internal void Commit()
    {
        if (!_flushing)
        {
            _flushing = true;
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    /// <summary>Writes a response (<see cref="ResponsePayloadTag"/>) or a data frame (tag 0) unless its stream has ended.</summary>
    /// <exception cref="MessageTooLargeException">Nothing was written. The marshaller's exceptions come out likewise.</exception>
    internal WriteResult TryWrite<T>(
        FrameType type, uint streamId, byte tag, Marshaller<T> marshaller, T message, IStreamState? stream)
    {
        lock (Gate)
        {
            if (Check(stream) is var result and not WriteResult.Written)
            {
                return result;
            }
            Begin(type, FrameFlags.None, streamId);
            try
            {
                frame.WriteMessage(tag, marshaller, message);
                frame.End();
            }
            catch
            {
                frame.Cancel();
                throw;
            }
            Commit();
            return WriteResult.Written;
        }
    }

    /// <summary>Writes the frame that ends one side of a stream.</summary>
    internal WriteResult TryWriteEnd(uint streamId, IStreamState? stream)
    {
        lock (Gate)
        {
            if (Check(stream) is var result and not WriteResult.Written)
            {
                return result;
            }
            Begin(FrameType.Data, FrameFlags.EndStream, streamId).End();
            Commit();
            return WriteResult.Written;
        }
    }

    /// <summary>
    /// Writes an error response. <paramref name="forced"/> is for the reader, which cannot wait: it may go over the limit as
    /// far again, and past that the answer is <see cref="WriteResult.Full"/>.
    /// </summary>
    internal WriteResult TryWriteStatus(uint streamId, RpcStatus status, bool forced)
    {
        lock (Gate)
        {
            if (IsClosed)
            {
                return WriteResult.Closed;
            }
            if (forced ? Pending >= 2L * limit : !HasRoom)
            {
                return WriteResult.Full;
            }
            Begin(FrameType.Response, FrameFlags.None, streamId);
            try
            {
                frame.WriteMessage(StatusTag, status);
                frame.End();
            }
            catch
            {
                frame.Cancel();
                throw;
            }
            Commit();
            return WriteResult.Written;
        }
    }

    /// <summary>Completes when all that was written has been handed to the transport, or the connection is gone.</summary>
    internal async Task DrainAsync()
    {
        while (true)
        {
            Task progress;
            lock (Gate)
            {
                if (IsClosed || !_flushing)
                {
                    return;
                }
                progress = Progress();
            }
            await progress.ConfigureAwait(false);
        }
    }

    /// <summary>Ends writing and wakes all that wait.</summary>
    internal void Close()
    {
        lock (Gate)
        {
            IsClosed = true;
            _filling.Release();
            Wake();
        }
        stall.Dispose();
    }

    void IThreadPoolWorkItem.Execute() => _ = FlushAsync();

    private async Task FlushAsync()
    {
        try
        {
            while (TakePending())
            {
                var rest = _sending.Written;
                metrics.Sent(rest.Length);
                while (!rest.IsEmpty)
                {
                    // In pieces, so that a slow peer that does read is told from one that does not.
                    var chunk = rest[..Math.Min(rest.Length, MaxChunk)];
                    await SendAsync(chunk).ConfigureAwait(false);
                    rest = rest[chunk.Length..];
                }
            }
        }
        catch (Exception error) // whatever the transport throws: the connection is gone for its writers
        {
            Close();
            onFailed(error);
        }
    }

    private ValueTask SendAsync(ReadOnlyMemory<byte> bytes)
    {
        var sent = connection.Transport.Output.WriteAsync(bytes);
        if (!sent.IsCompletedSuccessfully)
        {
            return AwaitAsync();
        }
        ThrowIfEnded(sent.Result);
        return default;

        async ValueTask AwaitAsync()
        {
            stall.Start();
            try
            {
                ThrowIfEnded(await sent.ConfigureAwait(false));
            }
            finally
            {
                stall.Stop();
            }
        }
    }

    private bool TakePending()
    {
        lock (Gate)
        {
            _sending.Release();
            if (IsClosed || _filling.Length == 0)
            {
                _flushing = false;
                _filling.Release();
                Wake();
                return false;
            }
            (_filling, _sending) = (_sending, _filling);
            Wake();
            return true;
        }
    }

    private WriteResult Check(IStreamState? stream) =>
        IsClosed ? WriteResult.Closed
        : stream is { IsEnded: true } ? WriteResult.Ended
        : HasRoom ? WriteResult.Written : WriteResult.Full;

    private Task Progress() =>
        (_room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

    private void Wake()
    {
        _room?.TrySetResult();
        _room = null;
    }

    private static void ThrowIfEnded(System.IO.Pipelines.FlushResult result)
    {
        if (result.IsCompleted || result.IsCanceled)
        {
            throw new IOException("The peer reads no more.");
        }
    }
}
