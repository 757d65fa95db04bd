using Kuasar.Protocol.Framing;
using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol;

/// <summary>How a <see cref="TtrpcClient"/> behaves. Immutable; the defaults are right for a containerd peer.</summary>
public sealed record TtrpcClientOptions
{
    /// <summary>ttrpc's limit on the data of one frame, envelope included: 4 MiB.</summary>
    public const int DefaultMaxMessageSize = 4 << 20;

    /// <summary>Largest frame data sent and received, in bytes. Peers in Go and Rust know no other than the default.</summary>
    public int MaxMessageSize { get; init; } = DefaultMaxMessageSize;

    /// <summary>Bytes that may wait to be sent; past it (by one frame at most) callers wait, within their deadlines.</summary>
    public int WriteBufferLimit { get; init; } = 1 << 20;

    /// <summary>
    /// Bytes of received messages that may wait for the reader of one stream, about 128 per message on top. ttrpc cannot hold
    /// the server back: past it the stream fails with RESOURCE_EXHAUSTED. One message fits at any size.
    /// </summary>
    public long StreamQueueLimit { get; init; } = 8 << 20;

    /// <summary>
    /// Whether the continuation of a lone call may run on the thread that reads the connection (a socket's; others have none),
    /// which halves the latency of sequential calls. When it takes longer than a millisecond or two, another thread reads on.
    /// Default true.
    /// </summary>
    public bool InlineCompletions { get; init; } = true;

    /// <summary>
    /// Which server the client may talk to, by the credentials of the process that listens. Null asks nothing; with a policy, a
    /// connection without <see cref="Connection.Peer"/> is refused too.
    /// </summary>
    public PeerPolicy? PeerPolicy { get; init; }

    /// <summary>Null logs nothing.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>Clock of the deadlines.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>For tests of the end of the id space.</summary>
    internal uint FirstStreamId { get; init; } = 1;

    /// <exception cref="UnauthorizedAccessException">The policy does not allow it.</exception>
    internal void Admit(Connection connection)
    {
        if (PeerPolicy is null)
        {
            return;
        }
        if (connection.Peer is not { } peer)
        {
            throw new UnauthorizedAccessException("Nobody knows whose process the server is; the peer policy needs to.");
        }
        if (!PeerPolicy.Allows(peer))
        {
            throw new UnauthorizedAccessException(
                $"The peer policy refuses the server: process {peer.ProcessId} of user {peer.UserId}, group {peer.GroupId}.");
        }
    }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxMessageSize);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxMessageSize, FrameReader.MaxLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(WriteBufferLimit);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(StreamQueueLimit);
        ArgumentNullException.ThrowIfNull(TimeProvider);
    }
}
