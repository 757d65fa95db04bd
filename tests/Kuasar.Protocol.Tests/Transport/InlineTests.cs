using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Transport;

/// <summary>Handlers and continuations run on reader threads; whatever they do, the connection goes on.</summary>
public sealed class InlineTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };

    [Fact]
    public async Task HandlersThatWaitForEachOther_AreBothServed()
    {
        using var arrived = new SemaphoreSlim(0);
        await using var server = new TestServer(wire: Wire.Socket, service: new EchoService
        {
            OnUnary = (m, _) =>
            {
                if (m.Text == "wait")
                {
                    arrived.Wait();
                }
                else if (m.Text == "go")
                {
                    arrived.Release();
                }
                return Task.FromResult(m);
            },
        });
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        for (var round = 0; round < 20; round++)
        {
            await MakeBusy(echo);
            var waits = echo.UnaryAsync(new EchoMessage { Text = "wait" });
            await echo.UnaryAsync(new EchoMessage { Text = "go" }).ResponseAsync.Within();
            await waits.ResponseAsync.Within();
        }
        await Wait.Until(() => server.Server is { ActiveStreams: 0, RunningHandlers: 0 });
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ContinuationThatBlocksOnAnotherCall_IsServed(bool blockingStub)
    {
        await using var server = new TestServer(wire: Wire.Socket);
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        for (var round = 0; round < 30; round++)
        {
            await echo.UnaryAsync(Hello).ResponseAsync.Within();
            await Task.Run(async () =>
            {
                await echo.UnaryAsync(Hello);
                // Here is the reader's thread, as a rule.
#pragma warning disable xUnit1031 // that is the point
                Assert.Equal(Hello, blockingStub ? echo.Unary(Hello) : echo.UnaryAsync(Hello).ResponseAsync.Result);
#pragma warning restore xUnit1031
            }).Within();
        }
        Assert.Equal(0, client.ActiveStreams);
    }

    [Fact]
    public async Task ContinuationThatDisposesTheClient_AndWaits_Ends()
    {
        await using var server = new TestServer(wire: Wire.Socket);
        for (var round = 0; round < 30; round++)
        {
            var client = server.Client();
            var echo = new Echo.EchoClient(client);
            await Task.Run(async () =>
            {
                await echo.UnaryAsync(Hello);
                await echo.UnaryAsync(Hello);
#pragma warning disable xUnit1031
                client.DisposeAsync().AsTask().Wait();
#pragma warning restore xUnit1031
            }).Within();
        }
        await Wait.Until(() => server.Server.ActiveConnections == 0);
    }

    [Fact]
    public async Task AsyncLocals_ReachNoOtherCall()
    {
        var local = new AsyncLocal<string?>();
        var leaked = 0;
        await using var server = new TestServer(wire: Wire.Socket, service: new EchoService
        {
            OnUnary = (m, _) =>
            {
                leaked += local.Value is null ? 0 : 1;
                local.Value = m.Text; // no async method that would restore it
                return Task.FromResult(m);
            },
        });
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(i => Task.Run(async () =>
        {
            for (var round = 0; round < 500; round++)
            {
                local.Value = $"{i} {round}";
                await echo.UnaryAsync(Hello);
                Assert.Equal($"{i} {round}", local.Value);
            }
        }))).Within();
        Assert.Equal(0, leaked);
    }

    [Fact]
    public async Task SlowHandlers_DoNotHoldUpQuickOnes()
    {
        using var release = new ManualResetEventSlim();
        await using var server = new TestServer(wire: Wire.Socket, service: new EchoService
        {
            OnUnary = (m, _) =>
            {
                if (m.Text == "wait")
                {
                    release.Wait();
                }
                return Task.FromResult(m);
            },
        });
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        await MakeBusy(echo);
        var stuck = new List<Task>();
        for (var i = 0; i < 4; i++)
        {
            stuck.Add(echo.UnaryAsync(new EchoMessage { Text = "wait" }).ResponseAsync);
            for (var quick = 0; quick < 100; quick++)
            {
                await echo.UnaryAsync(Hello).ResponseAsync.Within();
            }
        }
        Assert.DoesNotContain(stuck, call => call.IsCompleted);
        release.Set();
        await Task.WhenAll(stuck).Within();
    }

    [Fact]
    public async Task PingPong_OverAStream_KeepsItsOrder()
    {
        await using var server = new TestServer(wire: Wire.Socket);
        await using var client = server.Client();
        using var both = new Echo.EchoClient(client).Both();
        for (var i = 0; i < 5_000; i++)
        {
            await both.RequestStream.WriteAsync(new EchoMessage { Number = i });
            Assert.True(await both.ResponseStream.MoveNext(default).Within());
            Assert.Equal(i, both.ResponseStream.Current.Number);
        }
        await both.RequestStream.CompleteAsync();
        Assert.False(await both.ResponseStream.MoveNext(default).Within());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task BlockingCalls_OfManyThreads(bool inline)
    {
        await using var server = new TestServer(wire: Wire.Socket, options: new TtrpcServerOptions { InlineHandlers = inline });
        await using var client = server.Client(new TtrpcClientOptions { InlineCompletions = inline });
        var echo = new Echo.EchoClient(client);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(i => Task.Factory.StartNew(
            () =>
            {
                for (var round = 0; round < 500; round++)
                {
                    Assert.Equal(round, echo.Unary(new EchoMessage { Number = round }).Number);
                }
            },
            default, TaskCreationOptions.LongRunning, TaskScheduler.Default))).Within();
        Assert.Equal(0, client.ActiveStreams);
        Assert.Equal(2_000, client.Inner.Streams.Removed);
    }

    // Calls one by one, so that the server gives the connection a reader thread.
    private static async Task MakeBusy(Echo.EchoClient echo)
    {
        for (var i = 0; i < 50; i++)
        {
            await echo.UnaryAsync(Hello).ResponseAsync.Within();
        }
    }
}
