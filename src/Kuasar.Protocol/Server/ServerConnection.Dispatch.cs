using System.Buffers;
using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Server;

/// <content>What each frame brings about. On the reader: nothing here waits.</content>
internal sealed partial class ServerConnection
{
    private readonly RefusedStreams _refused = new();
    private uint _highestId; // of the requests so far
    private int _flooded;
    private bool _useful;

    /// <summary>Whether the call that is answered is all that is under way.</summary>
    internal bool IsAlone => Running <= 1;

    IThreadPoolWorkItem? IFrameSink.OnFrame(in Frame frame)
    {
        SideMetrics.Server.Received(FrameHeader.Size + frame.Header.Length);
        return frame.Type switch
        {
            FrameType.Request => OnRequest(frame),
            FrameType.Data => OnData(frame),
            // Unknown types are ignored by every server; a response has no business here and is treated alike.
            _ => null,
        };
    }

    bool IFrameSink.TakeUseful()
    {
        var useful = _useful;
        _useful = false;
        return useful;
    }

    /// <summary>Answers in the reader's name. It cannot wait, so a peer that makes us answer and does not read is cut off.</summary>
    internal void Refuse(uint streamId, StatusCode code, string message)
    {
        SideMetrics.Refused(code);
        var status = WireStatus.Create(code, message);
        WriteResult result;
        try
        {
            result = Writer.TryWriteStatus(streamId, status, forced: true);
        }
        catch (MessageTooLargeException)
        {
            result = Writer.TryWriteStatus(streamId, WireStatus.Shorten(status, Options.MaxMessageSize), forced: true);
        }
        // Frames that were received before the abort are still read, and refused; one line is enough.
        if (result == WriteResult.Full && Interlocked.Exchange(ref _flooded, 1) == 0)
        {
            ServerLog.PeerFloods(Log, PeerName);
            _connection.Abort();
        }
    }

    /// <summary>Fails a stream for data it must not get.</summary>
    internal static void RefuseData(ServerCall call, string message) => call.Fail(StatusCode.InvalidArgument, message);

    private IThreadPoolWorkItem? OnData(in Frame frame)
    {
        if (!Streams.TryGet(frame.StreamId, out var call))
        {
            // A stream that has ended has its answer, and the data crossed it. A second answer is more than Go's client can
            // hold: while nobody reads the stream it reads nothing of the whole connection.
            if (frame.StreamId > _highestId && _refused.TryAdd(frame.StreamId))
            {
                Refuse(frame.StreamId, StatusCode.InvalidArgument, "the stream is not active");
            }
            return null;
        }
        if (frame.Oversized)
        {
            call.Fail(StatusCode.ResourceExhausted, TooLarge(frame));
            return null;
        }
        _useful = true;
        Writer.OnData();
        return call.OnData(frame);
    }

    private ServerCall? OnRequest(in Frame frame)
    {
        var id = frame.StreamId;
        _highestId = Math.Max(_highestId, id);
        // "Even = server-initiated: reserved." The connection lives.
        if (id % 2 == 0)
        {
            Refuse(id, StatusCode.InvalidArgument, "a client's stream id must be odd");
            return null;
        }
        // Only a live id is refused: Rust's concurrent calls do not arrive in the order of their ids.
        if (Streams.TryGet(id, out _))
        {
            Refuse(id, StatusCode.InvalidArgument, "the stream id is in use");
            return null;
        }
        if (frame.Oversized)
        {
            Refuse(id, StatusCode.ResourceExhausted, TooLarge(frame));
            return null;
        }
        RequestEnvelope request;
        ServerMethod? method;
        string unknown;
        try
        {
            request = RequestEnvelope.Parse(frame.Data);
            method = _methods.Find(request, out unknown);
        }
        catch (InvalidDataException error)
        {
            Refuse(id, StatusCode.InvalidArgument, error.Message);
            return null;
        }
        if (method is null)
        {
            Refuse(id, StatusCode.Unimplemented, unknown);
            return null;
        }
        // Names are not kept, headers are.
        var size = request.Headers is null ? request.Payload.Length : frame.Header.Length;
        return Start(method, request, new RequestStart(id, frame.Header.Flags, request.Headers, request.TimeoutNano, (int)size));
    }

    private ServerCall? Start(ServerMethod method, in RequestEnvelope request, in RequestStart start)
    {
        if (start.TimeoutNano < 0)
        {
            // Go sends what is left of its deadline, and that may be less than nothing.
            Refuse(start.StreamId, StatusCode.DeadlineExceeded, "the deadline has passed");
            return null;
        }
        // Counted before the look at _stopping: either Stop sees the call or the call sees Stop.
        if (Interlocked.Increment(ref _running) > Options.MaxConcurrentCallsPerConnection)
        {
            OnHandlerEnded();
            Refuse(start.StreamId, StatusCode.ResourceExhausted, "too many calls at once on this connection");
            return null;
        }
        if (_stopping)
        {
            OnHandlerEnded();
            Refuse(start.StreamId, StatusCode.Unavailable, "the server is stopping");
            return null;
        }
        var call = method.CreateCall(this, start);
        if (!TryAccept(call, request.Payload, start))
        {
            call.Discard();
            OnHandlerEnded();
            return null;
        }
        _useful = true;
        // Before its handler: one that ends at once must find the entry it removes.
        Streams.TryAdd(start.StreamId, call);
        if (method.IsUnary)
        {
            return call;
        }
        // A stream's handler runs as long as the stream.
        ThreadPool.UnsafeQueueUserWorkItem(call, preferLocal: false);
        return null;
    }

    private bool TryAccept(ServerCall call, in ReadOnlySequence<byte> payload, in RequestStart start)
    {
        try
        {
            if (call.TryAccept(payload, start))
            {
                return true;
            }
            Refuse(start.StreamId, StatusCode.ResourceExhausted, "the calls of this connection hold too many bytes");
        }
        catch (Exception error) // the marshaller's, whatever it is
        {
            Refuse(start.StreamId, StatusCode.Internal, $"cannot read the request message: {error.Message}");
        }
        return false;
    }

    private string TooLarge(in Frame frame) =>
        $"a message of {frame.Header.Length} bytes exceeds the maximum message size of {Options.MaxMessageSize}";
}
