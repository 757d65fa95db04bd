using System.Buffers;
using System.IO.Pipelines;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Tests.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Transport;

public sealed class MultiplexerTests
{
    private const uint Plugin = Multiplexer.NriPluginService;
    private const uint Runtime = Multiplexer.NriRuntimeService;
    private static readonly EchoMessage Hello = new() { Text = "hello" };

    [Theory]
    [MemberData(nameof(Link.Raw), MemberType = typeof(Link))]
    public async Task BothDirections_AtOnce_FourKinds(string transport)
    {
        await using var link = await Link.CreateAsync(transport);
        await using var a = new End(link.Client, Plugin, Runtime);
        await using var b = new End(link.Server, Runtime, Plugin);
        await Task.WhenAll(Enumerable.Range(0, 16).SelectMany(i => new[]
        {
            Task.Run(() => Calls.FourKindsAsync(a.Echo, i)), Task.Run(() => Calls.FourKindsAsync(b.Echo, i)),
        })).Within();
        Assert.Equal((0, 0), (a.Client.ActiveStreams, b.Client.ActiveStreams));
        await Wait.Until(() => a.Server.ActiveStreams + b.Server.ActiveStreams == 0);
    }

    [Fact]
    public async Task LargeMessages_BothWays_AtOnce()
    {
        await using var link = await Link.CreateAsync("path");
        await using var a = new End(link.Client, Plugin, Runtime);
        await using var b = new End(link.Server, Runtime, Plugin);
        var big = new EchoMessage { Blob = ByteString.CopyFrom(Enumerable.Range(0, 4_000_000).Select(i => (byte)i).ToArray()) };
        var calls = Enumerable.Range(0, 8).Select(i => (i % 2 == 0 ? a : b).Echo.UnaryAsync(big).ResponseAsync).ToArray();
        foreach (var call in calls)
        {
            Assert.Equal(big, await call.Within());
        }
    }

    [Fact]
    public async Task Peer_AndAddress_AreThoseBeneath()
    {
        await using var link = await Link.CreateAsync("path");
        await using var multiplexer = new Multiplexer(link.Server);
        await using var connection = multiplexer.Open(5);
        Assert.Equal(Environment.ProcessId, connection.Peer!.Value.ProcessId);
        Assert.Equal(link.Server.LocalAddress, connection.LocalAddress);
        Assert.NotNull(connection.LocalAddress);
    }

    [Fact]
    public async Task Open_OnceEach_AndNever0()
    {
        var (ours, theirs) = ConnectionPair.Create();
        await using var peer = new RawPeer(theirs);
        await using var multiplexer = new Multiplexer(ours);
        multiplexer.Open(1);
        Assert.Throws<InvalidOperationException>(() => multiplexer.Open(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => multiplexer.Open(0));
    }

    [Fact]
    public async Task BytesForNobody_AreThrownAway()
    {
        var (ours, theirs) = ConnectionPair.Create();
        await using var peer = new RawPeer(theirs);
        await using var multiplexer = new Multiplexer(ours);
        var one = multiplexer.Open(1);
        var gone = multiplexer.Open(2);
        await gone.DisposeAsync();
        multiplexer.Start();
        for (var i = 0; i < 100; i++)
        {
            await peer.SendBytes(MultiplexTests.Frame(3, new byte[60_000]));
            await peer.SendBytes(MultiplexTests.Frame(2, new byte[60_000]));
        }
        await peer.SendBytes(MultiplexTests.Frame(1, [42]));
        Assert.Equal([42], await ReadAsync(one, 1));
        Assert.False(multiplexer.Closed.IsCancellationRequested);
    }

    [Fact]
    public async Task Nothing_IsReadBeforeStart()
    {
        var (ours, theirs) = ConnectionPair.Create();
        await using var peer = new RawPeer(theirs);
        await peer.SendBytes(MultiplexTests.Frame(9, [1, 2]));
        await using var multiplexer = new Multiplexer(ours);
        var late = multiplexer.Open(9);
        multiplexer.Start();
        multiplexer.Start();
        Assert.Equal([1, 2], await ReadAsync(late, 2));
    }

    [Fact]
    public async Task OneThatIsNotRead_TakesItsLimit_HoldsUpTheOthers_AndLosesNothing()
    {
        const int limit = 128 * 1024;
        var (ours, theirs) = ConnectionPair.Create();
        await using var peer = new RawPeer(theirs);
        await using var multiplexer = new Multiplexer(ours, new MultiplexerOptions { ReceiveLimit = limit });
        var (slow, other) = (multiplexer.Open(1), multiplexer.Open(2));
        multiplexer.Start();
        // Frames, until the peer cannot write any more: what it has written is then all the memory taken.
        var (sent, sending) = (0, Task.CompletedTask);
        while (await CompletesAsync(sending))
        {
            Assert.True(sent < 4 * limit, $"{sent} bytes taken");
            sending = peer.Connection.Transport.Output.WriteAsync(MultiplexTests.Frame(1, new byte[4096])).AsTask();
            sent += 4096;
        }
        // Its limit and one piece more here, and what a pair keeps of its own.
        Assert.InRange(sent, limit, limit + (3 * 64 * 1024));
        var behind = Task.Run(async () =>
        {
            await sending;
            await peer.SendBytes(MultiplexTests.Frame(2, [42]));
        });
        Assert.Equal(new byte[sent], await ReadAsync(slow, sent));
        await behind.Within();
        Assert.Equal([42], await ReadAsync(other, 1));
    }

    [Fact]
    public async Task OneThatIsNeverRead_EndsAll_InTime()
    {
        var (time, log) = (new ManualTime(), new LogLines());
        var (ours, theirs) = ConnectionPair.Create();
        await using var peer = new RawPeer(theirs);
        await using var multiplexer = new Multiplexer(
            ours, new MultiplexerOptions { ReceiveLimit = 1, TimeProvider = time, LoggerFactory = log });
        await using var client = new TtrpcClient(multiplexer.Open(2));
        multiplexer.Open(1);
        multiplexer.Start();
        await peer.SendBytes(MultiplexTests.Frame(1, new byte[10]));
        await Wait.Until(() => time.Armed == 1);
        time.Advance(TimeSpan.FromSeconds(30));
        await Wait.Until(() => client.Closed.IsCancellationRequested && multiplexer.Closed.IsCancellationRequested);
        Assert.Contains(log.Lines, line => line.Id == 1011);
        Assert.Null(await peer.TryReceive().Within());
    }

    [Fact]
    public async Task DisposingOne_LeavesTheOthers()
    {
        var (ours, theirs) = ConnectionPair.Create();
        await using var a = new End(ours, Plugin, Runtime);
        await using var b = new End(theirs, Runtime, Plugin);
        await a.Client.DisposeAsync();
        Assert.Equal(Hello, await b.Echo.UnaryAsync(Hello).ResponseAsync.Within());
        await RpcAssert.Fails(StatusCode.Unavailable, a.Echo.UnaryAsync(Hello).ResponseAsync);
    }

    [Fact]
    public async Task AbortingOne_EndsAll_AtBothEnds()
    {
        var (ours, theirs) = ConnectionPair.Create();
        await using var a = new Multiplexer(ours);
        var (one, two) = (a.Open(1), a.Open(2));
        a.Start();
        await using var b = new End(theirs, Runtime, Plugin);
        var reading = two.Transport.Input.ReadAsync().AsTask();
        one.Abort();
        await Assert.ThrowsAnyAsync<IOException>(() => reading.Within());
        await Wait.Until(() => b.Client.Closed.IsCancellationRequested && b.Server.ActiveConnections == 0);
        await Assert.ThrowsAnyAsync<IOException>(() => two.Transport.Output.WriteAsync(new byte[1]).AsTask().Within());
    }

    [Fact]
    public async Task GarbageOnOne_IsToldToThePeer_ByTheEndOfAll()
    {
        var (ours, theirs) = ConnectionPair.Create();
        await using var peer = new RawPeer(theirs);
        await using var end = new End(ours, Plugin, Runtime);
        await peer.SendBytes(MultiplexTests.Frame(Plugin, [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1, 1, 0]));
        Assert.Null(await peer.TryReceive().Within());
        await Wait.Until(() => end.Client.Closed.IsCancellationRequested);
    }

    [Theory]
    [InlineData(new byte[] { 0, 0, 0, 1, 0xFF, 0, 0, 0 }, true)] // longer than any frame
    [InlineData(new byte[] { 0, 0, 0, 1, 0, 0, 0, 2, 7 }, true)] // an end within a frame
    [InlineData(new byte[] { 0, 0, 0 }, true)] // or within a header
    [InlineData(new byte[0], false)] // a proper end
    public async Task TheEndOfTheTrunk_EndsAll(byte[] last, bool warns)
    {
        var log = new LogLines();
        var (ours, theirs) = ConnectionPair.Create();
        await using var multiplexer = new Multiplexer(ours, new MultiplexerOptions { LoggerFactory = log });
        await using var client = new TtrpcClient(multiplexer.Open(2));
        var call = new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync;
        multiplexer.Start();
        await theirs.Transport.Input.ReadAsync().AsTask().Within(); // the call: else its write may fail first
        await theirs.Transport.Output.WriteAsync(last);
        await theirs.DisposeAsync();
        await RpcAssert.Fails(StatusCode.Unavailable, call);
        await Wait.Until(() => multiplexer.Closed.IsCancellationRequested);
        Assert.Equal(warns, log.Lines.Any(line => line.Id == 1010));
        var late = multiplexer.Open(3);
        await Assert.ThrowsAnyAsync<Exception>(() => late.Transport.Output.WriteAsync(new byte[1]).AsTask().Within());
    }

    [Fact]
    public async Task Dispose_DeliversWhatWasWritten_AndEndsWhatWaits()
    {
        var (ours, theirs) = ConnectionPair.Create();
        await using var peer = new RawPeer(theirs);
        var multiplexer = new Multiplexer(ours);
        var one = multiplexer.Open(1);
        await one.Transport.Output.WriteAsync(new byte[] { 1, 2, 3 });
        var stuck = one.Transport.Output.WriteAsync(new byte[1 << 20]).AsTask();
        Assert.False(stuck.IsCompleted);
        await multiplexer.DisposeAsync();
        await multiplexer.DisposeAsync();
        await Assert.ThrowsAnyAsync<IOException>(() => stuck.Within());
        Assert.True((await one.Transport.Input.ReadAsync().AsTask().Within()).IsCompleted);
        var read = await theirs.Transport.Input.ReadAtLeastAsync(11);
        Assert.Equal(MultiplexTests.Frame(1, [1, 2, 3]), read.Buffer.Slice(0, 11).ToArray());
    }

    [Fact]
    public void Options_OutOfRange_AreRefused()
    {
        var (ours, _) = ConnectionPair.Create();
        Assert.Throws<ArgumentOutOfRangeException>(() => new Multiplexer(ours, new MultiplexerOptions { ReceiveLimit = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Multiplexer(ours, new MultiplexerOptions { StallTimeout = TimeSpan.Zero }));
    }

    private static async Task<byte[]> ReadAsync(Connection connection, int count)
    {
        var input = connection.Transport.Input;
        var got = new List<byte>();
        while (got.Count < count)
        {
            var read = await input.ReadAsync().AsTask().Within();
            got.AddRange(read.Buffer.ToArray());
            input.AdvanceTo(read.Buffer.End);
        }
        return [.. got];
    }

    /// <summary>Whether it completes; no is said only after a time in which everything that can move has moved.</summary>
    private static async Task<bool> CompletesAsync(Task task) =>
        await Task.WhenAny(task, Task.Delay(TimeSpan.FromMilliseconds(500))) == task;

    /// <summary>A server on one connection and a client on the other.</summary>
    private sealed class End : IAsyncDisposable
    {
        private readonly Multiplexer _multiplexer;

        public End(Connection connection, uint serves, uint calls)
        {
            _multiplexer = new Multiplexer(connection);
            Server = new TtrpcServer();
            Protos.Echo.BindService(Server.Services, new EchoService());
            _ = Server.ServeAsync(_multiplexer.Open(serves), default);
            Client = new TtrpcClient(_multiplexer.Open(calls));
            Echo = new Echo.EchoClient(Client);
            _multiplexer.Start();
        }

        public TtrpcServer Server { get; }
        public TtrpcClient Client { get; }
        public Echo.EchoClient Echo { get; }

        public async ValueTask DisposeAsync()
        {
            await Client.DisposeAsync();
            await Server.DisposeAsync();
            await _multiplexer.DisposeAsync();
        }
    }
}
