using Grpc.Core;
using Kuasar.Protocol.Server;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Protocol;

/// <summary>
/// A ttrpc server: services bound once, connections from any number of sources. Thread-safe once services are bound.
/// </summary>
/// <remarks>
/// Handlers run on the thread pool, concurrently even within a connection. Their context's CancellationToken ends with the
/// call's deadline or the connection (a client's cancelling does not reach a server); response headers and trailers do not
/// exist in ttrpc and are dropped.
/// </remarks>
public sealed class TtrpcServer : IAsyncDisposable
{
    private readonly TtrpcServerOptions _options;
    private readonly ILogger _log;
    private readonly MethodTable _methods = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<ServerConnection, Task> _connections = [];
    private readonly CancellationTokenSource _stopping = new();

    /// <summary>A server without services or connections.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    public TtrpcServer(TtrpcServerOptions? options = null)
    {
        _options = options ?? new TtrpcServerOptions();
        _options.Validate();
        _log = (_options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger<TtrpcServer>();
        Services = new MethodBinder(_methods, serviceName: null);
    }

    /// <summary>
    /// For generated code: <c>Task.BindService(server.Services, implementation)</c>. Before serving; a method bound twice
    /// throws <see cref="ArgumentException"/>, one bound while serving <see cref="InvalidOperationException"/>.
    /// </summary>
    public ServiceBinderBase Services { get; }

    /// <summary>
    /// As <see cref="Services"/>, under another full service name: <c>containerd.task.v2.Task</c> and <c>v3</c> have the same
    /// messages.
    /// </summary>
    public ServiceBinderBase ServicesAs(string serviceName)
    {
        ArgumentException.ThrowIfNullOrEmpty(serviceName);
        return new MethodBinder(_methods, serviceName);
    }

    /// <summary>Streams that live, of all connections.</summary>
    internal int ActiveStreams => Snapshot().Sum(connection => connection.Streams.Count);

    /// <summary>Connections that live.</summary>
    internal int ActiveConnections => Snapshot().Length;

    /// <summary>Handlers that run, of all connections.</summary>
    internal int RunningHandlers => Snapshot().Sum(connection => connection.Running);

    /// <summary>
    /// Accepts connections until <paramref name="cancellationToken"/> or <see cref="StopAsync"/>, or until the source ends; then returns.
    /// Accepted connections live on until they end or the server stops. Any number of sources at once.
    /// </summary>
    /// <param name="source">Stays the caller's to dispose.</param>
    /// <param name="cancellationToken">Ends accepting; cancelling it is not an error here.</param>
    public async Task ServeAsync(IConnectionSource source, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(source);
        _methods.Freeze();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _stopping.Token);
        try
        {
            while (await source.AcceptAsync(either.Token).ConfigureAwait(false) is { } connection)
            {
                _ = RunAsync(connection);
            }
        }
        catch (OperationCanceledException) when (either.IsCancellationRequested)
        {
            // Asked to stop accepting.
        }
    }

    /// <summary>Serves one connection until it ends; the server owns it. Never throws for what the peer does.</summary>
    /// <param name="connection">Any transport.</param>
    /// <param name="cancellationToken">Aborts the connection.</param>
    public async Task ServeAsync(Connection connection, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(connection);
        _methods.Freeze();
        using var abort = cancellationToken.UnsafeRegister(static connection => ((Connection)connection!).Abort(), connection);
        await RunAsync(connection).ConfigureAwait(false);
    }

    /// <summary>
    /// Stops: accepts no more, answers new calls UNAVAILABLE, waits up to <paramref name="drain"/> for the calls under way and
    /// their answers, then closes all connections; handlers that still run see their token cancelled and are not waited for.
    /// </summary>
    /// <param name="drain">Zero closes at once; <see cref="Timeout.InfiniteTimeSpan"/> waits as long as it takes.</param>
    public async Task StopAsync(TimeSpan drain)
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        KeyValuePair<ServerConnection, Task>[] connections;
        lock (_lock)
        {
            connections = [.. _connections];
        }
        using var ended = new CancellationTokenSource();
        var drained = Task.Delay(drain, _options.TimeProvider, ended.Token);
        await Task.WhenAll(connections.Select(entry => entry.Key.StopAsync(drained))).ConfigureAwait(false);
        await ended.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(connections.Select(entry => entry.Value)).ConfigureAwait(false);
    }

    /// <summary><see cref="StopAsync"/> without a drain. Sources stay their owners'.</summary>
    public async ValueTask DisposeAsync() => await StopAsync(TimeSpan.Zero).ConfigureAwait(false);

    private async Task RunAsync(Connection connection)
    {
        var served = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var running = new ServerConnection(connection, _methods, _options, _log);
        bool accepted;
        lock (_lock)
        {
            // Stopping is set before Stop looks at the connections: none slips in behind it.
            accepted = !_stopping.IsCancellationRequested;
            if (accepted)
            {
                _connections.Add(running, served.Task);
            }
        }
        if (!accepted)
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            return;
        }
        try
        {
            await Task.Yield(); // off the accept loop
            await running.RunAsync().ConfigureAwait(false);
        }
        finally
        {
            lock (_lock)
            {
                _connections.Remove(running);
            }
            served.TrySetResult();
        }
    }

    private ServerConnection[] Snapshot()
    {
        lock (_lock)
        {
            return [.. _connections.Keys];
        }
    }
}
