using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Transport;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Protocol.Client;

/// <summary>The client's end of a connection: hands out stream ids, reads frames, ends what lives when it ends.</summary>
internal sealed class ClientConnection : IFrameSink, IOpenConnection, IAsyncDisposable
{
    private readonly Connection _connection;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _closed = new();
    private Task _reading = Task.CompletedTask;
    private long _nextId;
    private ClientCall? _spare;
    private int _disposed;

    internal ClientConnection(Connection connection, TtrpcClientOptions options)
    {
        _connection = connection;
        Options = options;
        _log = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger<TtrpcClient>();
        _nextId = options.FirstStreamId;
        // No stall limit: a server that does not read costs its callers their deadlines, and only them.
        var stall = new StallGuard(Timeout.InfiniteTimeSpan, options.TimeProvider, connection.Abort);
        Writer = new FrameWriter(
            connection, options.MaxMessageSize, options.WriteBufferLimit, stall, _ => connection.Abort(), SideMetrics.Client);
        Deadlines = new DeadlineQueue(options.TimeProvider);
        Closed = _closed.Token;
    }

    internal TtrpcClientOptions Options { get; }
    public FrameWriter Writer { get; }
    internal StreamTable<ClientCall> Streams { get; } = new();
    internal DeadlineQueue Deadlines { get; }

    /// <summary>The reader's; used by no other thread.</summary>
    internal SequenceContext Context { get; } = new();

    internal CancellationToken Closed { get; }

    int IOpenConnection.ActiveCalls => Streams.Count;

    internal void Start()
    {
        SideMetrics.Client.Opened(this);
        // The loop serves every caller, so it must not carry the AsyncLocals of the first.
        using (ExecutionContext.SuppressFlow())
        {
            _reading = SocketConnection.Direct(_connection) is not null ? ReadAsync() : Task.Run(ReadAsync);
        }
    }

    /// <summary>Takes an id and writes the request, under one lock: ids on the wire must increase (Go refuses others).</summary>
    /// <exception cref="MessageTooLargeException">Nothing was written; so with the marshaller's exceptions.</exception>
    internal WriteResult TrySend<TRequest>(ClientCall call, FrameFlags flags, Marshaller<TRequest>? marshaller, TRequest? request)
    {
        if (Writer.SeemsFull)
        {
            lock (Writer.Gate)
            {
                if (!Writer.HasRoom && !Writer.IsClosed)
                {
                    return WriteResult.Full;
                }
            }
        }
        var frame = Writer.Rent();
        try
        {
            frame.Begin(FrameType.Request, flags, streamId: 0);
            call.WriteEnvelope(frame);
            if (marshaller is not null)
            {
                frame.WriteMessage(RequestWriter.PayloadTag, marshaller, request!);
            }
            frame.End();
            return TryAdd(call, frame);
        }
        finally
        {
            frame.Return();
        }
    }

    /// <summary>A finished call of that method to use again, or null. No other connection's: whoever ends all calls may be late.</summary>
    internal ClientCall? TakeSpare(IMethod method) =>
        Interlocked.Exchange(ref _spare, null) is { } spare && ReferenceEquals(spare.Method, method) ? spare : null;

    internal void KeepSpare(ClientCall call) => Volatile.Write(ref _spare, call);

    IThreadPoolWorkItem? IFrameSink.OnFrame(in Frame frame)
    {
        SideMetrics.Client.Received(FrameHeader.Size + frame.Header.Length);
        // Unknown streams are those of late responses: the call has timed out or was cancelled.
        if (!Streams.TryGet(frame.StreamId, out var call))
        {
            return null;
        }
        if (frame.Oversized)
        {
            call.End(new Status(StatusCode.ResourceExhausted,
                $"a message of {frame.Header.Length} bytes exceeds the maximum message size of {Options.MaxMessageSize}"));
            return null;
        }
        switch (frame.Type)
        {
            case FrameType.Response:
                return call.OnResponseFrame(frame);
            case FrameType.Data:
                Writer.OnData();
                return call.OnData(frame);
            default:
                call.End(new Status(StatusCode.Internal, $"protocol error: frame type 0x{(byte)frame.Type:x2} from the server"));
                return null;
        }
    }

    /// <summary>Always: a client's reader is a thread of its own, and its server is the one it chose.</summary>
    bool IFrameSink.TakeUseful() => true;

    private WriteResult TryAdd(ClientCall call, FrameBuilder frame)
    {
        bool flush;
        lock (Writer.Gate)
        {
            if (Writer.IsClosed)
            {
                return WriteResult.Closed;
            }
            if (_nextId > uint.MaxValue)
            {
                return WriteResult.Exhausted;
            }
            if (!Writer.HasRoom)
            {
                return WriteResult.Full;
            }
            var id = (uint)_nextId;
            _nextId += 2;
            frame.SetStreamId(id);
            // Registered before a flusher can see the frame, so before any answer.
            call.StreamId = id;
            Streams.TryAdd(id, call);
            flush = Writer.Add(frame, alone: Streams.Count <= 1);
            if (call.IsEnded)
            {
                Streams.Remove(id, call);
            }
        }
        if (flush)
        {
            Writer.Flush();
        }
        return WriteResult.Written;
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            EndAll("the client was disposed");
            await _connection.DisposeAsync().ConfigureAwait(false);
        }
        await _reading.ConfigureAwait(false);
    }

    private async Task ReadAsync()
    {
        try
        {
            await FrameLoop.RunAsync(_connection, Options.MaxMessageSize, this, new(Dedicated: true, Options.InlineCompletions)).ConfigureAwait(false);
            ClientLog.ConnectionClosed(_log);
        }
        catch (FrameFormatException error)
        {
            ClientLog.NotTtrpc(_log, error.Message);
            _connection.GiveUp();
        }
        catch (Exception error) // whatever the transport throws when it ends
        {
            ClientLog.ConnectionLost(_log, error.Message);
        }
        EndAll("the connection is closed");
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            await _connection.DisposeAsync().ConfigureAwait(false);
        }
    }

    private void EndAll(string reason)
    {
        SideMetrics.Client.Closed(this);
        Writer.Close();
        foreach (var call in Streams.Close())
        {
            call.End(new Status(StatusCode.Unavailable, reason));
        }
        _closed.CancelApart();
    }
}
