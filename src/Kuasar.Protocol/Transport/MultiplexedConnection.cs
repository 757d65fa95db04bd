using System.Buffers;
using System.IO.Pipelines;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Transport;

/// <summary>One connection of a <see cref="Multiplexer"/>.</summary>
#pragma warning disable CA1001 // _ended is never disposed: writes may hold its token, and it has neither timer nor handle
internal sealed class MultiplexedConnection : Connection, IDuplexPipe
#pragma warning restore CA1001
{
    private readonly Multiplexer _multiplexer;
    private readonly Pipe _received;
    private readonly CancellationTokenSource _ended = new();
    private readonly Lock _lock = new();
    private bool _over;

    internal MultiplexedConnection(Multiplexer multiplexer, uint id, int receiveLimit)
    {
        _multiplexer = multiplexer;
        Id = id;
        _received = new Pipe(new PipeOptions(
            pauseWriterThreshold: receiveLimit, resumeWriterThreshold: Math.Max(1, receiveLimit / 2), useSynchronizationContext: false));
        Output = PipeWriter.Create(
            new MultiplexedStream(multiplexer, this, _ended.Token), new StreamPipeWriterOptions(leaveOpen: true));
    }

    internal uint Id { get; }

    /// <summary>For whoever has the turn to write.</summary>
    internal MultiplexSplitter Splitter { get; } = new();

    public PipeReader Input => _received.Reader;
    public PipeWriter Output { get; }
    public override IDuplexPipe Transport => this;
    public override PeerCredentials? Peer => _multiplexer.Trunk.Peer;
    public override string? LocalAddress => _multiplexer.Trunk.LocalAddress;

    public override void Abort() => _multiplexer.Abort();

    // The framing has no end of one connection, and calls of the peer would wait for ever.
    internal override void GiveUp() => Abort();

    public override ValueTask DisposeAsync()
    {
        End(null);
        return default;
    }

    /// <summary>Keeps what came; done when more may come. After the end it is thrown away.</summary>
    internal ValueTask DeliverAsync(ReadOnlySequence<byte> piece)
    {
        ValueTask<FlushResult> flushed;
        lock (_lock)
        {
            if (_over)
            {
                return default;
            }
            foreach (var segment in piece)
            {
                _received.Writer.Write(segment.Span);
            }
            flushed = _received.Writer.FlushAsync();
        }
        // A reader that has completed wants nothing any more: that is no concern of the others.
        return flushed.IsCompletedSuccessfully ? default : new ValueTask(flushed.AsTask());
    }

    /// <summary>Reads end after what has come, or with the error; writes are cancelled. The first end counts.</summary>
    internal void End(Exception? error)
    {
        lock (_lock)
        {
            if (_over)
            {
                return;
            }
            _over = true;
            _received.Writer.Complete(error);
        }
        _received.Writer.CancelPendingFlush();
        _ended.CancelApart();
    }
}
