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
/// The sending half of a connection. A frame is serialised by its writer's thread into a buffer of that thread, and added to
/// what waits under <see cref="Gate"/>. Sending is by one flusher a time: the writer's own thread when its call is the only one
/// under way, else a work item, so frames of concurrent calls leave together (the measured throughput lever). The bytes that
/// wait are bounded; waiting for room is the writers' business, with their own deadlines.
/// </summary>
/// <remarks><code>
///            frame added, alone            all sent
///   Idle ------------------------> Now ----------------> Idle
///    |                              | bytes left, or more came
///    | frame added, not alone       v
///    +---------------------------> Later (a work item) --> Idle when nothing waits
/// </code></remarks>
internal sealed class FrameWriter : IThreadPoolWorkItem
{
    internal const byte StatusTag = (1 << 3) | 2;
    internal const byte ResponsePayloadTag = (2 << 3) | 2;

    private readonly FrameSender _sender;
    private readonly int _messageLimit;
    private readonly int _limit;
    private readonly StallGuard _stall;
    private readonly Action<Exception> _onFailed;
    private readonly SideMetrics _metrics;
    private SendQueue _filling = new();
    private SendQueue _sending = new(); // the flusher's
    private TaskCompletionSource? _room;
    private bool _flushing;
    private bool _held;
    private int _sendingLength; // of _sending when it was taken
    private bool _isCounted = true; // what is in _sending; the flusher's
    private volatile bool _isFull;
    private volatile bool _mayAnswer = true;

    internal FrameWriter(
        Connection connection, int messageLimit, int limit, StallGuard stall, Action<Exception> onFailed, SideMetrics metrics)
    {
        _sender = FrameSender.Of(connection, stall);
        _messageLimit = messageLimit;
        _limit = limit;
        _stall = stall;
        _onFailed = onFailed;
        _metrics = metrics;
    }

    /// <summary>Held while a frame is added; never while anything waits or code of others runs.</summary>
    internal Lock Gate { get; } = new();

    /// <summary>Under <see cref="Gate"/>.</summary>
    internal bool IsClosed { get; private set; }

    /// <summary>Bytes waiting to be sent, those being sent included. Under <see cref="Gate"/>.</summary>
    internal int Pending => _filling.Length + _sendingLength;

    /// <summary>Whether a frame may be added: the limit is passed by one frame at most. Under <see cref="Gate"/>.</summary>
    internal bool HasRoom => Pending < _limit;

    /// <summary>As <see cref="HasRoom"/> was a moment ago, to spare serialising in vain.</summary>
    internal bool SeemsFull => _isFull;

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

    /// <summary>Data has come: what a stream sends next may be the answer that the peer waits for.</summary>
    internal void OnData()
    {
        if (!_mayAnswer)
        {
            _mayAnswer = true;
        }
    }

    /// <summary>Whether a data frame shall leave at once: the first since data came. Those that follow gather.</summary>
    internal bool TakeAnswer()
    {
        var answer = _mayAnswer;
        if (answer)
        {
            _mayAnswer = false;
        }
        return answer;
    }

    /// <summary>A builder for one frame; <see cref="FrameBuilder.Return"/> it.</summary>
    internal FrameBuilder Rent() => FrameBuilder.Rent(_messageLimit);

    /// <summary>Adds a finished frame. Under <see cref="Gate"/>.</summary>
    /// <param name="frame">Its bytes are taken.</param>
    /// <param name="alone">Nothing else is under way that could send along with it.</param>
    /// <returns>Whether the caller must <see cref="Flush"/> as soon as it has left the lock.</returns>
    internal bool Add(FrameBuilder frame, bool alone)
    {
        frame.Output = _filling.Add(frame.Output);
        _isFull = !HasRoom;
        if (_flushing || _held)
        {
            return false;
        }
        _flushing = true;
        if (alone)
        {
            TakeFilling();
            return true;
        }
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        return false;
    }

    /// <summary>The reader runs work: what is written meanwhile gathers, until one of the two below.</summary>
    internal void Hold()
    {
        lock (Gate)
        {
            _held = true;
        }
    }

    /// <summary>Sends on the caller's thread what has gathered.</summary>
    internal void Release()
    {
        if (TakeHeld())
        {
            Flush();
        }
    }

    /// <summary>Has what has gathered sent by the pool.</summary>
    internal void ReleaseLater()
    {
        if (TakeHeld())
        {
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    /// <summary>Sends on the caller's thread what it has just added; what does not leave at once is the work item's.</summary>
    internal void Flush()
    {
        try
        {
            CountSending();
            if (_sender.TrySend(_sending) && !TakePending())
            {
                return;
            }
        }
        catch (Exception error) // the transport's: the connection is gone for its writers
        {
            Fail(error);
            return;
        }
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    /// <summary>Writes a response (<see cref="ResponsePayloadTag"/>) or a data frame (tag 0) unless its stream has ended.</summary>
    /// <exception cref="MessageTooLargeException">Nothing was written. The marshaller's exceptions come out likewise.</exception>
    internal WriteResult TryWrite<T>(
        FrameType type, uint streamId, byte tag, Marshaller<T> marshaller, T message, IStreamState? stream, bool alone)
    {
        if (_isFull)
        {
            lock (Gate)
            {
                if (Check(stream) is var result and not WriteResult.Written)
                {
                    return result;
                }
            }
        }
        var frame = Rent();
        try
        {
            frame.Begin(type, FrameFlags.None, streamId);
            frame.WriteMessage(tag, marshaller, message);
            frame.End();
            return TryAdd(frame, stream, alone);
        }
        finally
        {
            frame.Return();
        }
    }

    /// <summary>Writes the frame that ends one side of a stream.</summary>
    internal WriteResult TryWriteEnd(uint streamId, IStreamState? stream, bool alone)
    {
        var frame = Rent();
        try
        {
            frame.Begin(FrameType.Data, FrameFlags.EndStream, streamId);
            frame.End();
            return TryAdd(frame, stream, alone);
        }
        finally
        {
            frame.Return();
        }
    }

    /// <summary>
    /// Writes an error response. <paramref name="forced"/> is for the reader, which cannot wait: it may go over the limit as
    /// far again, and past that the answer is <see cref="WriteResult.Full"/>.
    /// </summary>
    internal WriteResult TryWriteStatus(uint streamId, RpcStatus status, bool forced)
    {
        var frame = Rent();
        try
        {
            frame.Begin(FrameType.Response, FrameFlags.None, streamId);
            frame.WriteMessage(StatusTag, status);
            frame.End();
            lock (Gate)
            {
                if (IsClosed)
                {
                    return WriteResult.Closed;
                }
                if (forced ? Pending >= 2L * _limit : !HasRoom)
                {
                    return WriteResult.Full;
                }
                Add(frame, alone: false);
            }
            return WriteResult.Written;
        }
        finally
        {
            frame.Return();
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
                if (IsClosed || (!_flushing && _filling.Length == 0))
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
            _filling.Clear();
            Wake();
        }
        _stall.Dispose();
    }

    void IThreadPoolWorkItem.Execute() => _ = FlushAsync();

    private async Task FlushAsync()
    {
        try
        {
            for (var round = 0; round < FrameLoop.Rounds; round++)
            {
                CountSending();
                await _sender.SendAsync(_sending).ConfigureAwait(false);
                if (!TakePending())
                {
                    return;
                }
            }
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
        catch (Exception error) // whatever the transport throws: the connection is gone for its writers
        {
            Fail(error);
        }
    }

    // The flusher's: nobody flushes after it.
    private void Fail(Exception error)
    {
        _sending.Clear();
        Close();
        _onFailed(error);
    }

    private WriteResult TryAdd(FrameBuilder frame, IStreamState? stream, bool alone)
    {
        bool flush;
        lock (Gate)
        {
            if (Check(stream) is var result and not WriteResult.Written)
            {
                return result;
            }
            flush = Add(frame, alone);
        }
        if (flush)
        {
            Flush();
        }
        return WriteResult.Written;
    }

    /// <summary>The flusher has sent all it had: takes what came meanwhile, or ends the flushing.</summary>
    private bool TakePending()
    {
        lock (Gate)
        {
            _sendingLength = 0;
            _flushing = !IsClosed && _filling.Length > 0;
            if (_flushing)
            {
                TakeFilling();
            }
            _isFull = !HasRoom;
            Wake();
            return _flushing;
        }
    }

    /// <summary>Ends the hold; true when the caller is the flusher of what has gathered.</summary>
    private bool TakeHeld()
    {
        lock (Gate)
        {
            _held = false;
            if (_flushing || _filling.Length == 0)
            {
                return false;
            }
            _flushing = true;
            TakeFilling();
            return true;
        }
    }

    private void TakeFilling()
    {
        (_filling, _sending) = (_sending, _filling);
        _sendingLength = _sending.Length;
        _isCounted = false;
    }

    // Outside of the lock, as a listener's code runs; before the bytes leave, so that whoever has received them finds them counted.
    private void CountSending()
    {
        if (!_isCounted)
        {
            _isCounted = true;
            _metrics.Sent(_sending.Length);
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
}
