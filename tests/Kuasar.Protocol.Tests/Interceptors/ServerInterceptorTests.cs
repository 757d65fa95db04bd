using System.Collections.Concurrent;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Interceptors;

public sealed class ServerInterceptorTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello", Number = 1 };
    private readonly ConcurrentQueue<string> _log = new();

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task Order_IsGrpcs_ForEveryKind(string kind)
    {
        await using var server = new TtrpcServer();
        Echo.BindService(server.Services.Intercept(Named("c"), Named("d")).Intercept(Named("b")).Intercept(Named("a")), Service(kind));
        await using var client = Connect(server);
        Assert.Equal("hello", (await Kinds.Call(new Echo.EchoClient(client), kind, Hello)).Text);
        Assert.Equal(
            [
                $"a enter {kind}", $"b enter {kind}", $"c enter {kind}", $"d enter {kind}", "handler",
                $"d leave {kind}", $"c leave {kind}", $"b leave {kind}", $"a leave {kind}",
            ],
            _log);
    }

    [Fact]
    public async Task OnlyWhatIsBoundThroughIt_IsIntercepted_AlsoUnderAnotherName()
    {
        await using var server = new TtrpcServer();
        Echo.BindService(server.Services.Intercept(), Service("Unary"));
        Echo.BindService(server.ServicesAs("other.Echo").Intercept(Named("a")), Service("Unary"));
        var (near, far) = ConnectionPair.Create();
        _ = server.ServeAsync(far, default);
        await using var peer = new RawPeer(near);
        await peer.SendRequest(1, "Unary", Hello);
        await peer.Receive();
        Assert.Equal(["handler"], _log);
        await peer.SendRequest(3, "Unary", Hello, service: "other.Echo");
        await peer.Receive();
        Assert.Equal(["handler", "a enter Unary", "handler", "a leave Unary"], _log);
    }

    [Theory]
    [MemberData(nameof(Kinds.Data), MemberType = typeof(Kinds))]
    public async Task Interceptor_MayRefuse_AndTheHandlerNeverRuns(string kind)
    {
        await using var server = new TtrpcServer();
        Echo.BindService(server.Services.Intercept(Named("outer"), new Guard()), Service(kind));
        await using var client = Connect(server);
        var echo = new Echo.EchoClient(client);
        await RpcAssert.Fails(StatusCode.Unauthenticated, Kinds.Call(echo, kind, Hello));
        Assert.Equal([$"outer enter {kind}"], _log);
        var allowed = new CallOptions(new Metadata { { "token", "secret" } });
        Assert.Equal("hello", (await Kinds.Call(echo, kind, Hello, allowed)).Text);
        Assert.Equal(0, client.ActiveStreams);
    }

    [Fact]
    public async Task Interceptor_MayChangeMessages_AndUserStateReachesTheHandler()
    {
        await using var server = new TtrpcServer();
        var service = new EchoService
        {
            OnUnary = (m, context) => Task.FromResult(new EchoMessage { Text = m.Text + context.UserState["who"] }),
            OnBoth = async (input, output, _) =>
            {
                while (await input.MoveNext(default))
                {
                    await output.WriteAsync(input.Current);
                    await output.WriteAsync(input.Current);
                }
            },
        };
        Echo.BindService(server.Services.Intercept(new Rewriter()), service);
        await using var client = Connect(server);
        var echo = new Echo.EchoClient(client);
        Assert.Equal("HELLO, you!", (await Kinds.Call(echo, "Unary", Hello)).Text);
        using var both = echo.Both();
        await both.RequestStream.WriteAsync(Hello);
        await both.RequestStream.CompleteAsync();
        for (var i = 1; i <= 2; i++)
        {
            Assert.True(await both.ResponseStream.MoveNext(default).Within());
            Assert.Equal(i, both.ResponseStream.Current.Number); // it counts what passes
        }
    }

    [Fact]
    public async Task Interceptor_MayTurnAnErrorIntoAnother_OrIntoAnAnswer()
    {
        await using var server = new TtrpcServer();
        var service = new EchoService { OnUnary = (m, _) => throw new InvalidOperationException(m.Text) };
        Echo.BindService(server.Services.Intercept(new Mapper()), service);
        await using var client = Connect(server);
        var echo = new Echo.EchoClient(client);
        await RpcAssert.Fails(StatusCode.AlreadyExists, Kinds.Call(echo, "Unary", new EchoMessage { Text = "error" }));
        Assert.Equal("saved", (await Kinds.Call(echo, "Unary", Hello)).Text);
    }

    [Fact]
    public async Task Null_IsRefused()
    {
        await using var server = new TtrpcServer();
        Assert.Throws<ArgumentException>(() => server.Services.Intercept(Named("a"), null!));
        Assert.Throws<ArgumentNullException>(() => TtrpcServiceBinderExtensions.Intercept(null!, Named("a")));
        // Generated code binds null handlers for a null service.
        Assert.Throws<ArgumentNullException>(() => Echo.BindService(server.Services.Intercept(Named("a")), null));
    }

    private static TtrpcClient Connect(TtrpcServer server)
    {
        var (near, far) = ConnectionPair.Create();
        _ = server.ServeAsync(far, default);
        return new TtrpcClient(near);
    }

    private TracingInterceptor Named(string name) => new(name, _log);

    private EchoService Service(string kind)
    {
        var echo = new EchoService();
        return new EchoService
        {
            OnUnary = (m, context) => { Ran("Unary"); return echo.OnUnary(m, context); },
            OnDown = (m, output, context) => { Ran("Down"); return echo.OnDown(m, output, context); },
            OnUp = (input, context) => { Ran("Up"); return echo.OnUp(input, context); },
            OnBoth = (input, output, context) => { Ran("Both"); return echo.OnBoth(input, output, context); },
        };

        void Ran(string which)
        {
            Assert.Equal(kind, which);
            _log.Enqueue("handler");
        }
    }

    private sealed class Guard : Interceptor
    {
        public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
            TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
        {
            Check(context);
            return continuation(request, context);
        }

        public override Task<TResponse> ClientStreamingServerHandler<TRequest, TResponse>(
            IAsyncStreamReader<TRequest> requestStream, ServerCallContext context, ClientStreamingServerMethod<TRequest, TResponse> continuation)
        {
            Check(context);
            return continuation(requestStream, context);
        }

        public override Task ServerStreamingServerHandler<TRequest, TResponse>(
            TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
            ServerStreamingServerMethod<TRequest, TResponse> continuation)
        {
            Check(context);
            return continuation(request, responseStream, context);
        }

        public override Task DuplexStreamingServerHandler<TRequest, TResponse>(
            IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
            DuplexStreamingServerMethod<TRequest, TResponse> continuation)
        {
            Check(context);
            return continuation(requestStream, responseStream, context);
        }

        private static void Check(ServerCallContext context)
        {
            if (context.RequestHeaders.GetValue("token") != "secret")
            {
                throw new RpcException(new Status(StatusCode.Unauthenticated, "who are you?"));
            }
        }
    }

    private sealed class Rewriter : Interceptor
    {
        public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
            TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
        {
            context.UserState["who"] = "you";
            var response = await continuation((TRequest)(object)new EchoMessage { Text = "HELLO, " }, context);
            ((EchoMessage)(object)response).Text += "!";
            return response;
        }

        public override Task DuplexStreamingServerHandler<TRequest, TResponse>(
            IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
            DuplexStreamingServerMethod<TRequest, TResponse> continuation) =>
            continuation(requestStream, new Counting<TResponse>(responseStream), context);

        private sealed class Counting<T>(IServerStreamWriter<T> inner) : IServerStreamWriter<T>
        {
            private int _count;

            public WriteOptions? WriteOptions { get => inner.WriteOptions; set => inner.WriteOptions = value; }

            public Task WriteAsync(T message) => inner.WriteAsync((T)(object)new EchoMessage { Number = ++_count });
        }
    }

    private sealed class Mapper : Interceptor
    {
        public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
            TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
        {
            try
            {
                return await continuation(request, context);
            }
            catch (InvalidOperationException error) when (error.Message == "error")
            {
                throw new RpcException(new Status(StatusCode.AlreadyExists, error.Message));
            }
            catch (InvalidOperationException)
            {
                return (TResponse)(object)new EchoMessage { Text = "saved" };
            }
        }
    }
}
