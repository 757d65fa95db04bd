using System.Net.Sockets;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Transport;

/// <summary>These count the process's descriptors, which others open and close beside them.</summary>
[CollectionDefinition(nameof(SocketTests), DisableParallelization = true)]
public sealed class SocketTestsAlone;

[Collection(nameof(SocketTests))]
public sealed class SocketTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };

    [Fact]
    public async Task FromSocket_TakesTheFastPath_UnlessTheSocketIsInDotNetsEventLoop()
    {
        var (client, server) = Wires.Sockets();
        await using var fast = Connection.FromSocket(client);
        Assert.IsType<Protocol.Transport.SocketConnection>(fast);
        var waiting = server.ReceiveAsync(new byte[1]); // non-blocking from now on
        await fast.Transport.Output.WriteAsync(new byte[1]);
        await waiting.Within();
        await using var slow = Connection.FromSocket(server);
        Assert.IsNotType<Protocol.Transport.SocketConnection>(slow);
    }

    /// <summary>Whoever has read something else first may hold the first frames already.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AConnectionWhoseTransportWasUsed_IsServedByWayOfIt(bool serverSide)
    {
        var (near, far) = Wires.Sockets();
        var used = Connection.FromSocket(near);
        await using var peer = new RawPeer(Connection.FromStream(new NetworkStream(far, ownsSocket: true)));
        var early = serverSide
            ? RawPeer.Frame(1, FrameType.Request, 0, new Protocol.Contracts.Ttrpc.Request
            {
                Service = RawPeer.Service, Method = "Unary", Payload = Hello.ToByteString(),
            }.ToByteArray())
            : RawPeer.Frame(99, FrameType.Response, 0, []);
        await peer.SendBytes((byte[])[7, .. early]);
        var read = await used.Transport.Input.ReadAsync();
        Assert.Equal(7, read.Buffer.FirstSpan[0]);
        used.Transport.Input.AdvanceTo(read.Buffer.GetPosition(1));
        Assert.Null(Protocol.Transport.SocketConnection.Direct(used));
        if (serverSide)
        {
            await using var server = new TtrpcServer();
            Echo.BindService(server.Services, new EchoService());
            var serving = server.ServeAsync(used, default);
            Assert.Equal(1u, (await peer.Receive()).Id);
            await peer.SendRequest(3, "Unary", Hello);
            Assert.Equal(3u, (await peer.Receive()).Id);
            await server.StopAsync(TimeSpan.FromSeconds(10)).Within();
            await serving.Within();
            return;
        }
        await using var client = new TtrpcClient(used);
        var call = new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync;
        await peer.Respond((await peer.Receive()).Id, Hello);
        Assert.Equal(Hello, await call.Within());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Frames_InAnyPieces_AreAnswered(int seed)
    {
        var random = new Random(seed);
        await using var server = new TestServer(wire: Wire.Socket);
        await using var peer = server.Raw();
        var sizes = Enumerable.Range(0, 60).Select(i => i % 10 == 0 ? random.Next(400_000) : random.Next(200)).ToArray();
        var bytes = new MemoryStream();
        for (var i = 0; i < sizes.Length; i++)
        {
            var blob = new byte[sizes[i]];
            random.NextBytes(blob);
            var request = new Protocol.Contracts.Ttrpc.Request
            {
                Service = RawPeer.Service,
                Method = "Unary",
                Payload = new EchoMessage { Blob = ByteString.CopyFrom(blob) }.ToByteString(),
            };
            bytes.Write(RawPeer.Frame((uint)((2 * i) + 1), FrameType.Request, 0, request.ToByteArray()));
        }
        var sending = Task.Run(async () =>
        {
            var all = bytes.ToArray();
            for (var sent = 0; sent < all.Length;)
            {
                var count = Math.Min(all.Length - sent, random.Next(3) == 0 ? random.Next(1, 30) : random.Next(1, 90_000));
                await peer.SendBytes(all.AsMemory(sent, count));
                sent += count;
            }
        });
        var answered = new HashSet<uint>();
        for (var i = 0; i < sizes.Length; i++)
        {
            var frame = await peer.Receive();
            Assert.Equal(0, frame.Code);
            Assert.True(answered.Add(frame.Id));
            Assert.Equal(sizes[(frame.Id - 1) / 2], EchoMessage.Parser.ParseFrom(frame.AsResponse.Payload).Blob.Length);
        }
        await sending.Within();
    }

    [Fact]
    public async Task Connections_ThatEndInTheMidstOfCalls_LeaveNothing()
    {
        await using var server = new TestServer(wire: Wire.Socket);
        await Round(server, 0);
        var before = Descriptors();
        for (var round = 0; round < 60; round++)
        {
            await Round(server, round);
        }
        await Wait.Until(() => server.Server is { ActiveConnections: 0, RunningHandlers: 0 });
        await Wait.Until(() => Descriptors() <= before + 2);

        static async Task Round(TestServer server, int seed)
        {
            var random = new Random(seed);
            var (served, client) = Wire.Socket.Create(raw: false);
            var serving = server.Server.ServeAsync(served, default);
            await using var ttrpc = new TtrpcClient(client);
            var echo = new Echo.EchoClient(ttrpc);
            var blob = new EchoMessage { Blob = ByteString.CopyFrom(new byte[random.Next(2) == 0 ? 10 : 100_000]) };
            var callers = Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
            {
                while (true)
                {
                    try
                    {
                        if (i == 0)
                        {
                            using var down = echo.Down(new EchoMessage { Number = 20 });
                            while (await down.ResponseStream.MoveNext())
                            {
                            }
                        }
                        else
                        {
                            await echo.UnaryAsync(blob);
                        }
                    }
                    catch (RpcException error)
                    {
                        Assert.Contains(error.StatusCode, new[] { StatusCode.Unavailable, StatusCode.Cancelled });
                        return;
                    }
                }
            })).ToArray();
            await Task.Delay(random.Next(15));
            switch (seed % 4)
            {
                case 0:
                    client.Abort();
                    break;
                case 1:
                    served.Abort();
                    break;
                case 2:
                    await ttrpc.DisposeAsync();
                    break;
                default:
                    await served.DisposeAsync();
                    break;
            }
            await Task.WhenAll(callers).Within();
            Assert.Equal(0, ttrpc.ActiveStreams);
            await serving.Within();
        }
    }

    [Fact]
    public async Task Peers_ThatDoNotRead_AndGo_LeaveNothing()
    {
        var blob = new EchoMessage { Blob = ByteString.CopyFrom(new byte[300_000]) };
        await using var server = new TestServer(wire: Wire.Socket, service: new EchoService { OnUnary = (_, _) => Task.FromResult(blob) });
        for (var round = 0; round < 20; round++)
        {
            await using var peer = server.Raw();
            for (uint id = 1; id < 20; id += 2)
            {
                await peer.SendRequest(id, "Unary", Hello);
            }
            // Its socket is full: the flusher waits for the poller, the other answers for room.
            await Wait.Until(() => server.Server.RunningHandlers > 0);
            await Task.Delay(round);
        }
        await Wait.Until(() => server.Server is { ActiveConnections: 0, RunningHandlers: 0 });
    }

    [Fact]
    public async Task ManyConnections_BusyByTurns()
    {
        await using var server = new TestServer(wire: Wire.Socket);
        var clients = Enumerable.Range(0, 12).Select(_ => server.Client()).ToArray();
        for (var round = 0; round < 3; round++)
        {
            await Task.WhenAll(clients.Select(client => Task.Run(async () =>
            {
                var echo = new Echo.EchoClient(client);
                for (var i = 0; i < 200; i++)
                {
                    Assert.Equal(i, (await echo.UnaryAsync(new EchoMessage { Number = i })).Number);
                }
            }))).Within();
            // Long enough for reader threads to give up.
            await Task.Delay(450);
        }
        foreach (var client in clients)
        {
            await client.DisposeAsync().AsTask().Within();
        }
        await Wait.Until(() => server.Server is { ActiveConnections: 0, RunningHandlers: 0 });
    }

    [Fact]
    public async Task ManyIdleConnections_HaveNoThreads()
    {
        await using var server = new TestServer(wire: Wire.Socket);
        await using var first = server.Raw();
        await first.SendRequest(1, "Unary", Hello);
        await first.Receive();
        var threads = Threads();
        var peers = new List<RawPeer>();
        for (var i = 0; i < 300; i++)
        {
            peers.Add(server.Raw());
            await peers[^1].SendRequest(1, "Unary", Hello);
            await peers[^1].Receive();
        }
        // Other tests run beside this one; 300 would be this one's.
        Assert.True(Threads() - threads < 150);
        foreach (var peer in peers)
        {
            await peer.DisposeAsync();
        }
    }

    private static int Descriptors() => Directory.GetFiles("/proc/self/fd").Length;

    private static int Threads() => Directory.GetDirectories("/proc/self/task").Length;
}
