using Grpc.Core;

namespace Kuasar.Vmm.Agent;

/// <summary>A unary call that waits for the connection first, within its deadline.</summary>
internal sealed class LateCall<TRequest, TResponse>(AgentChannel channel, Method<TRequest, TResponse> method, string? host, CallOptions options)
    : IDisposable
    where TRequest : class
    where TResponse : class
{
    private readonly CancellationTokenSource _ended = CancellationTokenSource.CreateLinkedTokenSource(options.CancellationToken);
    private Status? _status;

    internal Status Status => _status ?? throw new InvalidOperationException("The call has not ended.");

    internal Metadata Trailers { get; private set; } = [];

    internal async Task<TResponse> RunAsync(TRequest request)
    {
        try
        {
            var client = await WaitForConnectionAsync().ConfigureAwait(false);
            using var call = client.AsyncUnaryCall(method, host, options.WithCancellationToken(_ended.Token), request);
            var response = await call.ResponseAsync.ConfigureAwait(false);
            _status = Status.DefaultSuccess;
            return response;
        }
        catch (RpcException error)
        {
            (_status, Trailers) = (error.Status, error.Trailers);
            throw;
        }
    }

    /// <summary>Cancels the call.</summary>
    public void Dispose() => _ended.Cancel();

    private async Task<Protocol.TtrpcClient> WaitForConnectionAsync()
    {
        var left = options.Deadline is { } deadline && deadline != DateTime.MaxValue
            ? deadline.ToUniversalTime() - DateTime.UtcNow
            : Timeout.InfiniteTimeSpan;
        try
        {
            if (left <= TimeSpan.Zero && left != Timeout.InfiniteTimeSpan)
            {
                throw new TimeoutException();
            }
            return await channel.GetAsync().WaitAsync(left, _ended.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            var cancelled = _ended.IsCancellationRequested;
            throw Failed(cancelled ? StatusCode.Cancelled : StatusCode.Unavailable, cancelled ? "the call was cancelled" : "the client was disposed");
        }
        catch (TimeoutException)
        {
            throw Failed(StatusCode.DeadlineExceeded, "there was no connection to the guest agent in time");
        }
        catch (IOException error)
        {
            throw Failed(StatusCode.Unavailable, error.Message);
        }
    }

    private static RpcException Failed(StatusCode code, string detail) => new(new Status(code, detail));
}
