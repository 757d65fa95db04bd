using System.Runtime.CompilerServices;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests;

/// <summary>
/// What upstream's shims grew by (containerd/ttrpc#236, #241, containerd#13561): streams that have ended and are still held.
/// </summary>
public abstract class LeakTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly Wire _wire;

    private protected LeakTests(Wire wire) => _wire = wire;

    /// <summary>The connection lives, and the caller's token with it; the calls must not.</summary>
    [Fact]
    public async Task EndedCalls_AreHeldByNothing()
    {
        var contexts = new List<WeakReference>();
        EchoMessage Remember(ServerCallContext context, EchoMessage answer)
        {
            lock (contexts)
            {
                contexts.Add(new WeakReference(context));
            }
            return answer;
        }
        await using var server = new TestServer(
            new EchoService
            {
                OnUnary = (m, context) => Task.FromResult(Remember(context, m)),
                OnUp = async (input, context) =>
                {
                    while (await input.MoveNext(default))
                    {
                    }
                    return Remember(context, Hello);
                },
            },
            wire: _wire);
        await using var client = server.Client();
        using var lasting = new CancellationTokenSource();
        var requests = new List<WeakReference>();
        await CallAsync(new Echo.EchoClient(client), 100, requests, lasting.Token);
        // One more of each: the last call may be held by what was used last, a buffer or a worker's stack.
        await CallAsync(new Echo.EchoClient(client), 1, [], lasting.Token);
        await Wait.Until(() => server.Server is { ActiveStreams: 0, RunningHandlers: 0 });
        await Wait.Until(() =>
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            lock (contexts)
            {
                return contexts.Count(context => context.IsAlive) <= 4 && requests.Count(call => call.IsAlive) <= 4;
            }
        });
        Assert.Equal(0, client.ActiveStreams);
        Assert.Equal(202, contexts.Count);
        GC.KeepAlive(lasting);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task CallAsync(
        Echo.EchoClient echo, int count, List<WeakReference> calls, CancellationToken cancellationToken)
    {
        for (var i = 0; i < count; i++)
        {
            await UnaryAsync(echo, calls, cancellationToken);
            await UpAsync(echo, calls, cancellationToken);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task UnaryAsync(Echo.EchoClient echo, List<WeakReference> calls, CancellationToken cancellationToken)
    {
        var call = echo.UnaryAsync(Hello, deadline: DateTime.UtcNow.AddHours(1), cancellationToken: cancellationToken);
        calls.Add(new WeakReference(call));
        await call.ResponseAsync.Within();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task UpAsync(Echo.EchoClient echo, List<WeakReference> calls, CancellationToken cancellationToken)
    {
        using var call = echo.Up(deadline: DateTime.UtcNow.AddHours(1), cancellationToken: cancellationToken);
        calls.Add(new WeakReference(call));
        await call.RequestStream.WriteAsync(Hello, CancellationToken.None).Within();
        await call.RequestStream.CompleteAsync().Within();
        await call.ResponseAsync.Within();
    }

    /// <summary>Every way a call can end, and the number of entries that were ever made is the number that left.</summary>
    [Fact]
    public async Task EveryWayToEnd_RemovesTheEntryOnce()
    {
        var time = new ManualTime();
        await using var client = new TestClient(new TtrpcClientOptions { TimeProvider = time }, _wire);
        var peer = client.Peer;
        var deadline = time.GetUtcNow().UtcDateTime.AddSeconds(1);
        using var source = new CancellationTokenSource();
        var calls = new List<Task>
        {
            client.Echo.UnaryAsync(Hello).ResponseAsync, // 1: answered
            client.Echo.UnaryAsync(Hello).ResponseAsync, // 3: an error
            client.Echo.UnaryAsync(Hello).ResponseAsync, // 5: an oversize answer
            client.Echo.UnaryAsync(Hello).ResponseAsync, // 7: not an answer
            client.Echo.UnaryAsync(Hello, deadline: deadline).ResponseAsync, // 9
            client.Echo.UnaryAsync(Hello, cancellationToken: source.Token).ResponseAsync, // 11
            client.Echo.Down(Hello).ResponseStream.MoveNext(), // 13: ends
            client.Echo.Both(deadline: deadline).ResponseStream.MoveNext(), // 15
            client.Echo.Up(cancellationToken: source.Token).ResponseAsync, // 17
        };
        using var disposed = client.Echo.Down(Hello); // 19
        var lost = client.Echo.UnaryAsync(Hello).ResponseAsync; // 21
        Assert.Equal(11, client.Ttrpc.ActiveStreams);
        await peer.Respond(1, Hello);
        await peer.Send(3, FrameType.Response, 0, new Response { Status = new() { Code = 5 } }.ToByteArray());
        await peer.Send(5, FrameType.Response, 0, new byte[(4 << 20) + 1]);
        await peer.Send(7, FrameType.Request, 0, []);
        await peer.SendEnd(13);
        time.Advance(TimeSpan.FromSeconds(1));
        await source.CancelAsync();
        disposed.Dispose();
        foreach (var call in calls)
        {
            await Task.WhenAny(call).Within();
        }
        Assert.Equal(1, client.Ttrpc.ActiveStreams);
        await peer.DisposeAsync();
        await RpcAssert.Fails(StatusCode.Unavailable, lost);
        Assert.Equal(0, client.Ttrpc.ActiveStreams);
        Assert.Equal(11, client.Ttrpc.Inner.Streams.Removed);
    }

    /// <summary>
    /// containerd#8390 was a panic where an answer met the end of its connection. Here every call ends, and says so, whenever
    /// its connection does.
    /// </summary>
    [Fact]
    public async Task ConnectionsThatDieUnderLoad_EndEveryCall_AndLeaveNothing()
    {
        await using var server = new TestServer(wire: _wire);
        var random = new Random(3);
        for (var round = 0; round < 100; round++)
        {
            var connection = server.Connect();
            await using var client = new TtrpcClient(connection);
            var echo = new Echo.EchoClient(client);
            var calls = new List<Task>();
            for (var i = 0; i < 20; i++)
            {
                calls.Add(echo.UnaryAsync(Hello).ResponseAsync);
                calls.Add(ReadAsync(echo.Down(new EchoMessage { Number = 20 }).ResponseStream));
            }
            var end = Task.Run(async () =>
            {
                Thread.SpinWait(random.Next(20_000));
                await (round % 3 == 0 ? client.DisposeAsync() : Abort(connection));
            });
            foreach (var call in calls)
            {
                try
                {
                    await call.Within();
                }
                catch (RpcException error)
                {
                    Assert.Equal(StatusCode.Unavailable, error.StatusCode);
                }
            }
            await end.Within();
            Assert.Equal(0, client.ActiveStreams);
        }
        await Wait.Until(() => server.Server is { ActiveConnections: 0, ActiveStreams: 0, RunningHandlers: 0 });

        static ValueTask Abort(Connection connection)
        {
            connection.Abort();
            return default;
        }
    }

    /// <summary>R#287, R#311: a handler that writes and returns at once; its last messages were lost.</summary>
    [Fact]
    public async Task LastMessages_OfAServerStream_AreNeverLost()
    {
        await using var server = new TestServer(wire: _wire);
        await using var client = server.Client();
        var echo = new Echo.EchoClient(client);
        for (var count = 0; count < 200; count++)
        {
            using var call = echo.Down(new EchoMessage { Text = "x", Number = count });
            Assert.Equal(count, await ReadAsync(call.ResponseStream).Within());
        }
    }

    private static async Task<int> ReadAsync(IAsyncStreamReader<EchoMessage> stream)
    {
        var count = 0;
        while (await stream.MoveNext(default))
        {
            Assert.Equal(count++, stream.Current.Number);
        }
        return count;
    }
}

public sealed class LeakInMemoryTests() : LeakTests(Wire.Memory);

public sealed class LeakOnSocketTests() : LeakTests(Wire.Socket);
