using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Client;

/// <summary>Calls that block their thread, alone and beside others.</summary>
public abstract class BlockingCallTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly Wire _wire;

    private protected BlockingCallTests(Wire wire) => _wire = wire;

    [Fact]
    public async Task Blocking_OnManyThreads_BesideOthers_GetTheirOwnAnswers()
    {
        await using var server = new TestServer(wire: _wire);
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        var blocking = Enumerable.Range(0, 8).Select(thread => OnThread(() =>
        {
            for (var i = 0; i < 500; i++)
            {
                Assert.Equal((1000 * thread) + i, echo.Unary(new EchoMessage { Number = (1000 * thread) + i }).Number);
            }
        })).ToArray();
        for (var i = 0; i < 500; i++)
        {
            Assert.Equal(-i, (await echo.UnaryAsync(new EchoMessage { Number = -i }).ResponseAsync.Within()).Number);
        }
        await Task.WhenAll(blocking).Within();
        Assert.Equal(0, client.ActiveStreams);
    }

    [Fact]
    public async Task Blocking_EndsByItsDeadline_ItsToken_AndItsConnection()
    {
        await using var client = new TestClient(wire: _wire);
        await RpcAssert.Fails(StatusCode.DeadlineExceeded,
            OnThread(() => client.Echo.Unary(Hello, deadline: DateTime.UtcNow.AddMilliseconds(50))));
        using var source = new CancellationTokenSource();
        var cancelled = OnThread(() => client.Echo.Unary(Hello, cancellationToken: source.Token));
        await Wait.Until(() => client.Ttrpc.ActiveStreams == 1);
        await source.CancelAsync();
        await RpcAssert.Fails(StatusCode.Cancelled, cancelled);
        // Answers still come, whoever blocks or has blocked.
        var stuck = OnThread(() => client.Echo.Unary(Hello));
        await client.Peer.Receive();
        await client.Peer.Receive();
        await client.Peer.Receive();
        var call = client.Echo.UnaryAsync(Hello);
        await client.Peer.Respond((await client.Peer.Receive()).Id, Hello);
        Assert.Equal(Hello, await call.ResponseAsync.Within());
        await client.Peer.DisposeAsync();
        await RpcAssert.Fails(StatusCode.Unavailable, stuck);
        Assert.Equal(0, client.Ttrpc.ActiveStreams);
    }

    private static Task OnThread(Action action) =>
        Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static Task OnThread(Func<EchoMessage> action) => OnThread(() => { _ = action(); });
}

public sealed class BlockingCallInMemoryTests() : BlockingCallTests(Wire.Memory);

public sealed class BlockingCallOnSocketTests() : BlockingCallTests(Wire.Socket);
