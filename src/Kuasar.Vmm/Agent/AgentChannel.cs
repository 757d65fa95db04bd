using Grpc.Core;
using Kuasar.Protocol;

namespace Kuasar.Vmm.Agent;

/// <summary>
/// Unary calls over one connection that is dialled when it is first needed and again when it was lost: after a restore, or a restart of
/// the agent. A call that was under way when it was lost fails with UNAVAILABLE: whether the guest has acted is for the caller to find out.
/// </summary>
internal sealed class AgentChannel(Func<CancellationToken, ValueTask<Stream>> dial, AgentClientOptions options)
    : CallInvoker, IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _disposed = new();
    private Task<TtrpcClient>? _current;

    /// <summary>The connection, made if need be; several callers share an attempt.</summary>
    /// <exception cref="IOException">It cannot be made: a <see cref="VsockException"/> as a rule.</exception>
    internal Task<TtrpcClient> GetAsync()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed.IsCancellationRequested, typeof(AgentClient));
            var usable = _current is { IsCompleted: false } || (_current is { IsCompletedSuccessfully: true } && !_current.Result.Closed.IsCancellationRequested);
            return usable ? _current! : _current = Task.Run(() => OpenAsync(_disposed.Token));
        }
    }

    /// <summary>A connection of its own, for a stream.</summary>
    internal async Task<TtrpcClient> OpenAsync(CancellationToken cancellationToken)
    {
        var stream = await DialAsync(cancellationToken).ConfigureAwait(false);
        return Over(stream);
    }

    /// <summary>A stream to the agent, within the time for it.</summary>
    internal async Task<Stream> DialAsync(CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(options.ConnectTimeout, options.TimeProvider);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken, _disposed.Token);
        try
        {
            return await dial(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new VsockException(VsockFailure.TimedOut, $"the guest agent did not answer a dial within {options.ConnectTimeout.TotalSeconds:0.###} s");
        }
    }

    /// <summary>A client on the stream, which it takes over. No thread of its own: there is one for each guest.</summary>
    internal TtrpcClient Over(Stream stream) => new(
        Connection.FromStream(stream), new TtrpcClientOptions { TimeProvider = options.TimeProvider, LoggerFactory = options.LoggerFactory });

    /// <summary>The next call dials. Calls under way fail.</summary>
    internal async ValueTask DropAsync()
    {
        Task<TtrpcClient>? current;
        lock (_lock)
        {
            (current, _current) = (_current, null);
        }
        if (current is null)
        {
            return;
        }
        TtrpcClient client;
        try
        {
            client = await current.ConfigureAwait(false);
        }
        catch (Exception error) when (error is IOException or OperationCanceledException)
        {
            return; // nothing was made
        }
        await client.DisposeAsync().ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            if (_disposed.IsCancellationRequested)
            {
                return;
            }
        }
        await _disposed.CancelAsync().ConfigureAwait(false);
        await DropAsync().ConfigureAwait(false);
    }

    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        if (GetAsync() is { IsCompletedSuccessfully: true } connected)
        {
            return connected.Result.AsyncUnaryCall(method, host, options, request);
        }
        var call = new LateCall<TRequest, TResponse>(this, method, host, options);
        return new AsyncUnaryCall<TResponse>(
            call.RunAsync(request), Task.FromResult(new Metadata()), () => call.Status, () => call.Trailers, call.Dispose);
    }

    public override TResponse BlockingUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) =>
        AsyncUnaryCall(method, host, options, request).ResponseAsync.GetAwaiter().GetResult();

    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) => throw OwnConnection();

    public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options) => throw OwnConnection();

    public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options) => throw OwnConnection();

    private static NotSupportedException OwnConnection() =>
        new("A stream needs a connection of its own, or a slow reader holds up all calls: AgentClient.ConnectAsync gives one.");
}
