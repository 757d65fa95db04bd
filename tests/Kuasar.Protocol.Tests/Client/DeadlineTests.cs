using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Client;

public abstract class DeadlineTests : IAsyncDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly ManualTime _time = new();
    private readonly TestClient _client;

    private protected DeadlineTests(Wire wire) => _client = new TestClient(new TtrpcClientOptions { TimeProvider = _time, WriteBufferLimit = 100_000 }, wire);

    public ValueTask DisposeAsync() => _client.DisposeAsync();

    private DateTime In(double seconds) => _time.GetUtcNow().UtcDateTime.AddSeconds(seconds);

    [Fact]
    public async Task Deadline_TravelsAsTheTimeLeft_AndIsKeptHere()
    {
        var call = _client.Echo.UnaryAsync(Hello, deadline: In(2));
        Assert.Equal(2_000_000_000, (await _client.Peer.Receive()).AsRequest.TimeoutNano);
        _time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.False(call.ResponseAsync.IsCompleted);
        _time.Advance(TimeSpan.FromSeconds(0.1));
        await RpcAssert.Fails(StatusCode.DeadlineExceeded, call.ResponseAsync);
        Assert.Equal(0, _client.Ttrpc.ActiveStreams);
    }

    [Fact]
    public async Task Deadline_Answered_LeavesNoTimer()
    {
        var call = _client.Echo.UnaryAsync(Hello, deadline: In(2));
        await _client.Peer.Receive();
        await _client.Peer.Respond(1, Hello);
        await call.ResponseAsync.Within();
        Assert.Equal(0, _time.Armed);
    }

    [Fact]
    public async Task Deadline_Passed_SendsNothing()
    {
        await RpcAssert.Fails(StatusCode.DeadlineExceeded, _client.Echo.UnaryAsync(Hello, deadline: In(-1)).ResponseAsync);
        await RpcAssert.Fails(
            StatusCode.DeadlineExceeded, _client.Echo.UnaryAsync(Hello, deadline: DateTime.MinValue).ResponseAsync);
        _ = _client.Echo.UnaryAsync(Hello);
        Assert.Equal(1u, (await _client.Peer.Receive()).Id);
    }

    [Fact]
    public async Task Deadline_Infinite_IsNone()
    {
        _ = _client.Echo.UnaryAsync(Hello, deadline: DateTime.MaxValue);
        Assert.Equal(0, (await _client.Peer.Receive()).AsRequest.TimeoutNano);
        Assert.Equal(0, _time.Armed);
    }

    [Fact]
    public void Deadline_NotUtc_IsAMistake() =>
        Assert.Throws<InvalidOperationException>(() => _client.Echo.UnaryAsync(Hello, deadline: DateTime.Now));

    [Fact]
    public async Task PeerThatDoesNotRead_BlocksNobodyPastTheDeadline()
    {
        var big = new EchoMessage { Blob = ByteString.CopyFrom(new byte[90_000]) };
        // 64 KiB fit the pipe and about 100 KB our buffer: the later calls wait for room.
        var calls = Enumerable.Range(0, 10).Select(_ => _client.Echo.UnaryAsync(big, deadline: In(5))).ToArray();
        Assert.InRange(_client.Ttrpc.ActiveStreams, 1, 4);
        _time.Advance(TimeSpan.FromSeconds(5));
        foreach (var call in calls)
        {
            await RpcAssert.Fails(StatusCode.DeadlineExceeded, call.ResponseAsync);
        }
        Assert.Equal(0, _client.Ttrpc.ActiveStreams);
    }

    /// <summary>containerd/ttrpc#174, #227: a write that waits for the peer went past every deadline.</summary>
    [Fact]
    public async Task StreamThatWaitsToSend_EndsByItsDeadline_AndByItsToken()
    {
        var big = new EchoMessage { Blob = ByteString.CopyFrom(new byte[90_000]) };
        using var source = new CancellationTokenSource();
        using var up = _client.Echo.Up(deadline: In(5));
        using var both = _client.Echo.Both(cancellationToken: source.Token);
        using var other = _client.Echo.Up();
        var waiting = new[] { FillAsync(up.RequestStream), FillAsync(both.RequestStream) };
        using var gaveUp = new CancellationTokenSource();
        var abandoned = FillAsync(other.RequestStream, gaveUp.Token);
        Assert.All(waiting, write => Assert.False(write.IsCompleted));
        _time.Advance(TimeSpan.FromSeconds(5));
        await RpcAssert.Fails(StatusCode.DeadlineExceeded, waiting[0]);
        await source.CancelAsync();
        await RpcAssert.Fails(StatusCode.Cancelled, waiting[1]);
        // The token of one write ends that write, and leaves the stream.
        await gaveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => abandoned.Within());
        Assert.Equal(1, _client.Ttrpc.ActiveStreams);

        async Task FillAsync(IClientStreamWriter<EchoMessage> stream, CancellationToken cancellationToken = default)
        {
            while (true)
            {
                await stream.WriteAsync(big, cancellationToken);
            }
        }
    }

    [Fact]
    public async Task PeerThatDoesNotRead_DoesNotHoldUpOurReader()
    {
        var first = _client.Echo.UnaryAsync(Hello);
        await _client.Peer.Receive();
        var big = new EchoMessage { Blob = ByteString.CopyFrom(new byte[200_000]) };
        var stuck = Enumerable.Range(0, 5).Select(_ => _client.Echo.UnaryAsync(big)).ToArray();
        await _client.Peer.Respond(1, Hello);
        Assert.Equal(Hello, await first.ResponseAsync.Within());
        // And when it reads again, all go through in order.
        for (uint id = 3; id <= 11; id += 2)
        {
            Assert.Equal(id, (await _client.Peer.Receive()).Id);
            await _client.Peer.Respond(id, Hello);
        }
        await Task.WhenAll(stuck.Select(call => call.ResponseAsync)).Within();
    }
}

public sealed class DeadlineInMemoryTests() : DeadlineTests(Wire.Memory);

public sealed class DeadlineOnSocketTests() : DeadlineTests(Wire.Socket);
