using Grpc.Core;
using Kuasar.Protocol.Framing;
using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol;

/// <summary>How a <see cref="TtrpcServer"/> behaves. Immutable; the limits hold per connection unless they say otherwise.</summary>
public sealed record TtrpcServerOptions
{
    /// <summary>
    /// Largest frame data sent and received, in bytes; default 4 MiB, what Go and Rust know. A larger request is thrown away as
    /// it comes and answered RESOURCE_EXHAUSTED; a larger response becomes that error. At least 64, so that errors fit.
    /// </summary>
    public int MaxMessageSize { get; init; } = TtrpcClientOptions.DefaultMaxMessageSize;

    /// <summary>Calls whose handlers run at once; one more is answered RESOURCE_EXHAUSTED. Default 1024.</summary>
    public int MaxConcurrentCallsPerConnection { get; init; } = 1024;

    /// <summary>
    /// Bytes of received messages that may wait for the handler of one stream, about 128 per message on top; past it the stream
    /// fails with RESOURCE_EXHAUSTED. One message fits at any size. Default 8 MiB.
    /// </summary>
    public long StreamQueueLimit { get; init; } = 8 << 20;

    /// <summary>
    /// Bytes of received messages that a connection's calls may hold together: requests from their arrival to the end of their
    /// handler, messages of streams until they are read. A call or stream that goes over it fails with RESOURCE_EXHAUSTED, the
    /// others go on. One message fits at any size while nothing else is held. Default 64 MiB.
    /// </summary>
    public long MaxReceivedBytesPerConnection { get; init; } = 64 << 20;

    /// <summary>
    /// Bytes that may wait to be sent; past it (by one frame at most) responses wait. The reader's own refusals may take as
    /// much again; a peer that brings about more than that and does not read is aborted. Default 1 MiB.
    /// </summary>
    public int WriteBufferLimit { get; init; } = 1 << 20;

    /// <summary>A peer that takes no bytes for so long while some wait for it is aborted. Default 30 s.</summary>
    public TimeSpan IdleWriteTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Says what status a handler's exception is, for all but <see cref="RpcException"/>. Null, or a null answer, is the
    /// default: CANCELLED or DEADLINE_EXCEEDED for <see cref="OperationCanceledException"/>, else UNKNOWN with the message.
    /// </summary>
    public Func<Exception, Status?>? ErrorMapper { get; init; }

    /// <summary>
    /// Whether the handler of a lone unary call, or of a stream that waits for a message, may run on the thread that reads the
    /// connection (a socket that is busy; others have none), which halves the latency of sequential calls. When it takes longer
    /// than a millisecond or two, another thread reads on. Default true.
    /// </summary>
    public bool InlineHandlers { get; init; } = true;

    /// <summary>Null logs nothing.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>Clock of the deadlines and the write timeout.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxMessageSize, WireStatus.MinMessageSize);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxMessageSize, FrameReader.MaxLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxConcurrentCallsPerConnection);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(StreamQueueLimit);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxReceivedBytesPerConnection);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(WriteBufferLimit);
        if (IdleWriteTimeout != Timeout.InfiniteTimeSpan)
        {
            ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(IdleWriteTimeout, TimeSpan.Zero);
        }
        ArgumentNullException.ThrowIfNull(TimeProvider);
    }
}
