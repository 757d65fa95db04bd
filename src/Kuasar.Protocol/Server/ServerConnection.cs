using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Telemetry;
using Kuasar.Protocol.Transport;
using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol.Server;

/// <summary>The server's end of a connection. Dispatching frames is in ServerConnection.Dispatch.cs.</summary>
#pragma warning disable CA1001 // _gone is never disposed: handlers may hold its token, and it has neither timer nor handle
internal sealed partial class ServerConnection : IFrameSink, IOpenConnection
#pragma warning restore CA1001
{
    private readonly Connection _connection;
    private readonly MethodTable _methods;
    private readonly CancellationTokenSource _gone = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _stopping;
    private int _running;

    internal ServerConnection(Connection connection, MethodTable methods, TtrpcServerOptions options, ILogger log)
    {
        _connection = connection;
        _methods = methods;
        Options = options;
        Log = log;
        Gone = _gone.Token;
        Writer = new FrameWriter(
            connection, options.MaxMessageSize, options.WriteBufferLimit,
            new StallGuard(options.IdleWriteTimeout, options.TimeProvider, OnStalled), _ => connection.Abort(),
            SideMetrics.Server);
        Deadlines = new DeadlineQueue(options.TimeProvider);
        Received = new ReceivedBytes(options.MaxReceivedBytesPerConnection);
    }

    internal TtrpcServerOptions Options { get; }
    internal ILogger Log { get; }
    public FrameWriter Writer { get; }
    internal StreamTable<ServerCall> Streams { get; } = new();
    internal DeadlineQueue Deadlines { get; }
    internal ReceivedBytes Received { get; }

    /// <summary>The reader's; used by no other thread.</summary>
    internal SequenceContext Context { get; } = new();

    /// <summary>Cancelled when the connection has ended.</summary>
    internal CancellationToken Gone { get; }

    internal Connection Connection => _connection;

    /// <summary>Handlers that run; a call whose stream has failed counts until its handler returns.</summary>
    internal int Running => Volatile.Read(ref _running);

    int IOpenConnection.ActiveCalls => Running;

    internal string PeerName => field ??= _connection.Peer is { } peer
        ? $"unix:pid={peer.ProcessId},uid={peer.UserId},gid={peer.GroupId}"
        : "unknown";

    internal AuthContext PeerAuth => field ??= Server.PeerAuth.Of(_connection.Peer);

    /// <summary>Serves until the connection ends. Never throws.</summary>
    internal async Task RunAsync()
    {
        SideMetrics.Server.Opened(this);
        try
        {
            await FrameLoop.RunAsync(_connection, Options.MaxMessageSize, this, new(Dedicated: false, Options.InlineHandlers)).ConfigureAwait(false);
        }
        catch (FrameFormatException error)
        {
            ServerLog.NotTtrpc(Log, PeerName, error.Message);
            _connection.GiveUp();
        }
        catch (Exception error) // whatever the transport throws when it ends
        {
            ServerLog.ConnectionLost(Log, PeerName, error.Message);
        }
        SideMetrics.Server.Closed(this);
        // "Client EOF = server cancels all handlers of that connection."
        Writer.Close();
        Streams.Close();
        _idle.TrySetResult();
        _gone.CancelApart();
        await _connection.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Refuses new calls, waits for the rest and sends their answers; gives up when <paramref name="drained"/> ends.</summary>
    internal async Task StopAsync(Task drained)
    {
        _stopping = true;
        Interlocked.MemoryBarrier(); // against Start, which counts first and looks at _stopping then
        if (Running == 0)
        {
            _idle.TrySetResult();
        }
        var draining = DrainAsync();
        await Task.WhenAny(draining, drained).ConfigureAwait(false);
        // Either ends the reader, and with it RunAsync; only an orderly end delivers the last answers.
        if (draining.IsCompleted)
        {
            await _connection.DisposeAsync().ConfigureAwait(false);
        }
        else
        {
            _connection.Abort();
        }
    }

    internal void OnHandlerEnded()
    {
        if (Interlocked.Decrement(ref _running) == 0 && _stopping)
        {
            _idle.TrySetResult();
        }
    }

    private async Task DrainAsync()
    {
        await _idle.Task.ConfigureAwait(false);
        await Writer.DrainAsync().ConfigureAwait(false);
    }

    private void OnStalled()
    {
        ServerLog.PeerStalled(Log, PeerName, Options.IdleWriteTimeout);
        _connection.Abort();
    }
}
