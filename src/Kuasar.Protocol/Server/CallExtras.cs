using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Server;

/// <summary>What only some calls have or use: a deadline or a token of their own, headers, trailers, a status, a listener.</summary>
internal sealed class CallExtras(ServerConnection connection) : DeadlineEntry
{
    private CancellationTokenSource? _cancellation;
    private volatile bool _deadlinePassed;

    internal ServerConnection Connection { get; } = connection;

    /// <summary>Null while nobody listens.</summary>
    internal CallTelemetry? Telemetry { get; set; }

    internal DateTime Deadline { get; private set; } = DateTime.MaxValue;
    internal CancellationToken Token { get; private set; } = connection.Gone;
    internal bool DeadlinePassed => _deadlinePassed;
    internal Metadata? Headers { get; set; }
    internal Metadata? Trailers { get; set; }
    internal Status Status { get; set; } = Status.DefaultSuccess;
    internal WriteOptions? WriteOptions { get; set; }

    /// <summary>The call can be cancelled without the connection: a stream, or one with a deadline.</summary>
    internal void Arm(long timeoutNano)
    {
        _cancellation = CancellationTokenSource.CreateLinkedTokenSource(Connection.Gone);
        Token = _cancellation.Token;
        if (timeoutNano == 0)
        {
            return;
        }
        var now = Connection.Options.TimeProvider.GetUtcNow().UtcDateTime;
        var left = TimeSpan.FromTicks(Math.Max(1, timeoutNano / TimeSpan.NanosecondsPerTick));
        Deadline = left < DateTime.MaxValue - now ? now + left : DateTime.MaxValue;
        if (left < DeadlineQueue.Longest)
        {
            Connection.Deadlines.Add(this, left);
        }
    }

    // Only the token, as Go does: a handler that ignores it answers late and the client drops that.
    internal override void OnDeadline()
    {
        _deadlinePassed = true;
        CancelToken();
    }

    // Disposed when the handler has ended meanwhile.
    internal void CancelToken() => _cancellation?.CancelApart();

    /// <summary>Frees what was armed. The handler has ended, or never ran.</summary>
    internal void Discard()
    {
        if (Deadline != DateTime.MaxValue)
        {
            Connection.Deadlines.Remove(this);
        }
        _cancellation?.Dispose();
    }
}
