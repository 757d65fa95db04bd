using Grpc.Core;
using Kuasar.Protocol.Client;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol;

/// <summary>
/// A ttrpc client on one connection: <c>new Task.TaskClient(client)</c> needs nothing else. Thread-safe, any number of calls
/// at once. It does not reconnect: when <see cref="Closed"/> fires, every call fails UNAVAILABLE and a new client is due.
/// </summary>
/// <remarks>
/// What the protocol makes of gRPC's call options: the deadline travels as the time left and is kept here too, sending
/// included; headers travel as metadata (text only: a <c>-bin</c> header fails the call with INVALID_ARGUMENT); cancelling
/// ends the call here and the server never learns; there are no response headers, and the only trailer is
/// <c>grpc-status-details-bin</c> when a status has details. Call credentials, host, write options and wait-for-ready are
/// ignored.
/// </remarks>
public sealed class TtrpcClient : CallInvoker, IAsyncDisposable
{
    private readonly ClientConnection _connection;

    /// <summary>A client over a connection, which it takes over and disposes; when it throws, the connection stays the caller's.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range.</exception>
    /// <exception cref="UnauthorizedAccessException"><see cref="TtrpcClientOptions.PeerPolicy"/> refuses the server.</exception>
    public TtrpcClient(Connection connection, TtrpcClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(connection);
        options ??= new TtrpcClientOptions();
        options.Validate();
        options.Admit(connection);
        _connection = new ClientConnection(connection, options);
        _connection.Start();
    }

    /// <summary>Cancelled when the connection is gone, by whichever side.</summary>
    public CancellationToken Closed => _connection.Closed;

    /// <summary>Streams that live; 0 when no call is under way.</summary>
    internal int ActiveStreams => _connection.Streams.Count;

    internal ClientConnection Inner => _connection;

    /// <summary>Connects to a unix socket.</summary>
    /// <param name="address">
    /// <c>unix:///path</c> or <c>/path</c>; <c>unix://@name</c> or, as containerd has it, text with neither scheme nor leading
    /// slash for an abstract name.
    /// </param>
    /// <param name="options">Null is all defaults.</param>
    /// <param name="cancellationToken">Ends the attempt; not the client.</param>
    /// <exception cref="System.Net.Sockets.SocketException">Nobody listens there, or it is not ours to enter.</exception>
    /// <exception cref="ArgumentException">
    /// No unix socket address. For <c>vsock://</c> and the like make the connection yourself: <see cref="Connection.FromSocket"/>,
    /// <see cref="Connection.FromStream"/>, and the constructor.
    /// </exception>
    /// <exception cref="UnauthorizedAccessException"><see cref="TtrpcClientOptions.PeerPolicy"/> refuses the server.</exception>
    public static async ValueTask<TtrpcClient> ConnectAsync(
        string address, TtrpcClientOptions? options = null, CancellationToken cancellationToken = default)
    {
        options?.Validate();
        var socket = await UnixSocket.ConnectAsync(UnixAddress.Parse(address), cancellationToken).ConfigureAwait(false);
        var connection = Connection.FromSocket(socket, UnixAddress.Show(address));
        try
        {
            return new TtrpcClient(connection, options);
        }
        catch
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    /// <remarks>Blocks the calling thread until the response.</remarks>
    public override TResponse BlockingUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        SocketReader.BeforeWait();
        return BlockingCall<TRequest, TResponse>.Run(_connection, method, options, request);
    }

    /// <inheritdoc/>
    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        var call = new UnaryCall<TRequest, TResponse>(_connection, method, options);
        call.Start(request);
        return new AsyncUnaryCall<TResponse>(
            call.Response, ClientCall.NoHeaders, ClientCall.StatusOf, ClientCall.TrailersOf, ClientCall.Cancel, call);
    }

    /// <inheritdoc/>
    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        var call = new ReceivingCall<TRequest, TResponse>(_connection, method, options);
        call.Start(request);
        return new AsyncServerStreamingCall<TResponse>(
            call, ClientCall.NoHeaders, ClientCall.StatusOf, ClientCall.TrailersOf, ClientCall.Cancel, call);
    }

    /// <inheritdoc/>
    public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        var call = new UnaryCall<TRequest, TResponse>(_connection, method, options);
        var requests = call.Open();
        return new AsyncClientStreamingCall<TRequest, TResponse>(
            requests, call.Response, ClientCall.NoHeaders, ClientCall.StatusOf, ClientCall.TrailersOf, ClientCall.Cancel, call);
    }

    /// <inheritdoc/>
    public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        var call = new ReceivingCall<TRequest, TResponse>(_connection, method, options);
        var requests = call.Open();
        return new AsyncDuplexStreamingCall<TRequest, TResponse>(
            requests, call, ClientCall.NoHeaders, ClientCall.StatusOf, ClientCall.TrailersOf, ClientCall.Cancel, call);
    }

    /// <summary>Closes the connection; calls under way fail with UNAVAILABLE. Idempotent.</summary>
    public ValueTask DisposeAsync() => _connection.DisposeAsync();
}
