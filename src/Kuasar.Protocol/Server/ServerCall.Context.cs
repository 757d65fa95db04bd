using Grpc.Core;

namespace Kuasar.Protocol.Server;

/// <content>What handlers see as their <see cref="ServerCallContext"/>.</content>
internal abstract partial class ServerCall
{
    protected override string MethodCore => Method.FullName;
    protected override string HostCore => "";
    protected override string PeerCore => Connection.PeerName;
    protected override DateTime DeadlineCore => _extras?.Deadline ?? DateTime.MaxValue;
    protected override Metadata RequestHeadersCore => Extras.Headers ??= [];
    protected override CancellationToken CancellationTokenCore => _extras?.Token ?? Connection.Gone;

    /// <summary>ttrpc has none: what a handler puts here is dropped.</summary>
    protected override Metadata ResponseTrailersCore => Extras.Trailers ??= [];

    protected override Status StatusCore
    {
        get => _extras?.Status ?? Status.DefaultSuccess;
        set => Extras.Status = value;
    }

    protected override WriteOptions? WriteOptionsCore
    {
        get => _extras?.WriteOptions;
        set => Extras.WriteOptions = value;
    }

    protected override AuthContext AuthContextCore => Connection.PeerAuth;

    // Handlers may use their context from several threads.
    private CallExtras Extras => _extras ?? Interlocked.CompareExchange(ref _extras, new CallExtras(this), null) ?? _extras;

    /// <summary>ttrpc has no response headers: dropped.</summary>
    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) =>
        throw new NotSupportedException("Pass CancellationToken and Deadline on instead.");
}
