using Grpc.Core;

namespace Kuasar.Protocol.Server;

/// <content>What handlers see as their <see cref="ServerCallContext"/>.</content>
internal abstract partial class ServerCall
{
    protected override string MethodCore => Method.FullName;
    protected override string HostCore => "";
    protected override string PeerCore => Connection.PeerName;
    protected override DateTime DeadlineCore => FoundExtras?.Deadline ?? DateTime.MaxValue;
    protected override Metadata RequestHeadersCore => Extras.Headers ??= [];
    protected override CancellationToken CancellationTokenCore => FoundExtras?.Token ?? Connection.Gone;

    /// <summary>ttrpc has none: what a handler puts here is dropped.</summary>
    protected override Metadata ResponseTrailersCore => Extras.Trailers ??= [];

    protected override Status StatusCore
    {
        get => FoundExtras?.Status ?? Status.DefaultSuccess;
        set => Extras.Status = value;
    }

    protected override WriteOptions? WriteOptionsCore
    {
        get => FoundExtras?.WriteOptions;
        set => Extras.WriteOptions = value;
    }

    protected override AuthContext AuthContextCore => Connection.PeerAuth;

    // Handlers may use their context from several threads.
    private CallExtras Extras
    {
        get
        {
            if (_owner is ServerConnection connection)
            {
                Interlocked.CompareExchange(ref _owner, new CallExtras(connection), connection);
            }
            return (CallExtras)_owner;
        }
    }

    /// <summary>ttrpc has no response headers: dropped.</summary>
    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) =>
        throw new NotSupportedException("Pass CancellationToken and Deadline on instead.");
}
