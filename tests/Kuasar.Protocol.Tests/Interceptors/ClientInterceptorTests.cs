using System.Collections.Concurrent;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Interceptors;

/// <summary>Grpc.Core's <c>Intercept</c> on a <see cref="TtrpcClient"/>.</summary>
public sealed class ClientInterceptorTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello", Number = 1 };
    private readonly ConcurrentQueue<string> _log = new();

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task Order_IsGrpcs_ForEveryKind_AndTheirHeadersArrive(string kind)
    {
        Metadata? seen = null;
        await using var server = new TestServer(Seeing(context => seen = context.RequestHeaders));
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client.Intercept(Named("b"), Named("c")).Intercept(Named("a")));
        var options = new CallOptions(new Metadata { { "own", "x" } });
        Assert.Equal("hello", (await Kinds.Call(echo, kind, Hello, options)).Text);
        Assert.Equal([$"a call {kind}", $"b call {kind}", $"c call {kind}"], _log);
        Assert.Equal(["c", "b", "a"], seen!.GetAll("passed").Select(entry => entry.Value));
        Assert.Equal("x", seen.GetValue("own"));
        Assert.Single(options.Headers!); // the caller's own are as they were
    }

    [Fact]
    public async Task BlockingCall_IsInterceptedToo()
    {
        await using var server = new TestServer();
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client.Intercept(Named("a"), Named("b")));
        Assert.Equal(Hello, await Task.Run(() => echo.Unary(Hello)).Within());
        Assert.Equal(["a blocking Unary", "b blocking Unary", "b end Unary", "a end Unary"], _log);
    }

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task ChangedOptions_Count(string kind)
    {
        DateTime? deadline = null;
        await using var server = new TestServer(Seeing(context => deadline = context.Deadline));
        await using var client = server.Client();
        using var cancel = new CancellationTokenSource();
        var echo = new Echo.EchoClient(client.Intercept(new Options(options => options
            .WithDeadline(DateTime.UtcNow.AddMinutes(5)).WithCancellationToken(cancel.Token))));
        await Kinds.Call(echo, kind, Hello);
        Assert.NotNull(deadline);
        Assert.InRange(deadline.Value - DateTime.UtcNow, TimeSpan.FromMinutes(4), TimeSpan.FromMinutes(5));
        await cancel.CancelAsync();
        await RpcAssert.Fails(StatusCode.Cancelled, Kinds.Call(echo, kind, Hello));
        Assert.Equal(0, client.ActiveStreams);
    }

    [Fact]
    public async Task RetryingInterceptor_CallsAgain_UntilItWorks()
    {
        var attempts = 0;
        await using var server = new TestServer(new EchoService
        {
            OnUnary = (m, _) => ++attempts < 3
                ? throw new RpcException(new Status(StatusCode.Unavailable, $"attempt {attempts}"))
                : Task.FromResult(new EchoMessage { Text = m.Text, Number = attempts }),
        });
        await using var client = server.Client();
        using var call = new Echo.EchoClient(client.Intercept(new Retry(attempts: 5))).UnaryAsync(Hello);
        Assert.Equal(3, (await call.ResponseAsync.Within()).Number);
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        Assert.Equal((3, 3L), (attempts, client.Inner.Streams.Removed));

        attempts = -10;
        using var failing = new Echo.EchoClient(client.Intercept(new Retry(attempts: 2))).UnaryAsync(Hello);
        await RpcAssert.Fails(StatusCode.Unavailable, failing.ResponseAsync);
        Assert.Equal(-8, attempts);
        Assert.Equal(StatusCode.Unavailable, failing.GetStatus().StatusCode);
        Assert.Equal(0, client.ActiveStreams);
    }

    [Fact]
    public async Task WrappedStreams_SeeEveryMessage()
    {
        await using var server = new TestServer();
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client.Intercept(new Upper()));
        Assert.Equal("HELLO", (await Kinds.Call(echo, "Both", Hello)).Text);
    }

    private TracingInterceptor Named(string name) => new(name, _log);

    private static EchoService Seeing(Action<ServerCallContext> see)
    {
        var echo = new EchoService();
        return new EchoService
        {
            OnUnary = (m, context) => { see(context); return echo.OnUnary(m, context); },
            OnDown = (m, output, context) => { see(context); return echo.OnDown(m, output, context); },
            OnUp = (input, context) => { see(context); return echo.OnUp(input, context); },
            OnBoth = (input, output, context) => { see(context); return echo.OnBoth(input, output, context); },
        };
    }

    private sealed class Options(Func<CallOptions, CallOptions> change) : Interceptor
    {
        public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
            TRequest request, ClientInterceptorContext<TRequest, TResponse> context, AsyncUnaryCallContinuation<TRequest, TResponse> continuation) =>
            continuation(request, Changed(context));

        public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
            TRequest request, ClientInterceptorContext<TRequest, TResponse> context,
            AsyncServerStreamingCallContinuation<TRequest, TResponse> continuation) => continuation(request, Changed(context));

        public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
            ClientInterceptorContext<TRequest, TResponse> context, AsyncClientStreamingCallContinuation<TRequest, TResponse> continuation) =>
            continuation(Changed(context));

        public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
            ClientInterceptorContext<TRequest, TResponse> context, AsyncDuplexStreamingCallContinuation<TRequest, TResponse> continuation) =>
            continuation(Changed(context));

        private ClientInterceptorContext<TRequest, TResponse> Changed<TRequest, TResponse>(ClientInterceptorContext<TRequest, TResponse> context)
            where TRequest : class
            where TResponse : class => new(context.Method, context.Host, change(context.Options));
    }

    private sealed class Retry(int attempts) : Interceptor
    {
        public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
            TRequest request, ClientInterceptorContext<TRequest, TResponse> context, AsyncUnaryCallContinuation<TRequest, TResponse> continuation)
        {
            AsyncUnaryCall<TResponse>? last = null;
            return new AsyncUnaryCall<TResponse>(
                AskAsync(), Task.FromResult(new Metadata()), () => last!.GetStatus(), () => last!.GetTrailers(), () => last?.Dispose());

            async Task<TResponse> AskAsync()
            {
                for (var left = attempts; ; left--)
                {
                    last = continuation(request, context);
                    try
                    {
                        return await last.ResponseAsync;
                    }
                    catch (RpcException error) when (error.StatusCode == StatusCode.Unavailable && left > 1)
                    {
                        last.Dispose();
                    }
                }
            }
        }
    }

    private sealed class Upper : Interceptor
    {
        public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
            ClientInterceptorContext<TRequest, TResponse> context, AsyncDuplexStreamingCallContinuation<TRequest, TResponse> continuation)
        {
            var call = continuation(context);
            return new AsyncDuplexStreamingCall<TRequest, TResponse>(
                call.RequestStream, new Reader<TResponse>(call.ResponseStream), call.ResponseHeadersAsync, call.GetStatus, call.GetTrailers, call.Dispose);
        }

        private sealed class Reader<T>(IAsyncStreamReader<T> inner) : IAsyncStreamReader<T>
        {
            public T Current => inner.Current is EchoMessage m ? (T)(object)new EchoMessage { Text = m.Text.ToUpperInvariant() } : inner.Current;

            public Task<bool> MoveNext(CancellationToken cancellationToken) => inner.MoveNext(cancellationToken);
        }
    }
}
