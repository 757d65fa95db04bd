using Grpc.Core;

namespace Kuasar.Protocol.Server;

/// <content>What handlers see as their <see cref="ServerCallContext"/>.</content>
internal abstract partial class ServerCall
{
    // Timers hold 49 days.
    private static readonly TimeSpan LongestTimer = TimeSpan.FromDays(45);

    private readonly ServerMethod _method;
    private readonly CancellationToken _token;
    private readonly DateTime _deadline = DateTime.MaxValue;
    private Metadata? _headers;
    private Metadata? _trailers;
    private Dictionary<object, object>? _userState;

    protected override string MethodCore => _method.FullName;
    protected override string HostCore => "";
    protected override string PeerCore => Connection.PeerName;
    protected override DateTime DeadlineCore => _deadline;
    protected override Metadata RequestHeadersCore => _headers ??= [];
    protected override CancellationToken CancellationTokenCore => _token;

    /// <summary>ttrpc has none: what a handler puts here is dropped.</summary>
    protected override Metadata ResponseTrailersCore => _trailers ??= [];

    protected override Status StatusCore { get; set; } = Status.DefaultSuccess;
    protected override WriteOptions? WriteOptionsCore { get; set; }
    protected override AuthContext AuthContextCore => Connection.PeerAuth;
    protected override IDictionary<object, object> UserStateCore => _userState ??= [];

    /// <summary>ttrpc has no response headers: dropped.</summary>
    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) =>
        throw new NotSupportedException("Pass CancellationToken and Deadline on instead.");

    private (DateTime Deadline, ITimer? Timer) Arm(long timeoutNano)
    {
        var time = Connection.Options.TimeProvider;
        var now = time.GetUtcNow().UtcDateTime;
        var left = TimeSpan.FromTicks(Math.Max(1, timeoutNano / TimeSpan.NanosecondsPerTick));
        var deadline = left < DateTime.MaxValue - now ? now + left : DateTime.MaxValue;
        return left >= LongestTimer
            ? (deadline, null)
            : (deadline, time.CreateTimer(static call => ((ServerCall)call!).OnDeadline(), this, left, Timeout.InfiniteTimeSpan));
    }

    // Only the token, as Go does: a handler that ignores it answers late and the client drops that.
    private void OnDeadline()
    {
        _deadlinePassed = true;
        CancelToken();
    }
}
