using System.Net.Sockets;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Load.Tests;

/// <summary>
/// A peer that misbehaves costs a bounded amount of memory and holds nobody up. By how much calls on other connections take
/// longer is measured by benchmarks/isolation.sh.
/// </summary>
public sealed class IsolationTests : LoadTest
{
    /// <summary>Of one connection: the send buffer twice over (refusals), what the stream queue holds, and pooled buffers.</summary>
    private const long Bound = 32L << 20;

    private const int BadPeers = 4;

    public static TheoryData<string> Kinds => [.. BadPeer.Kinds.Where(kind => !kind.StartsWith("spin", StringComparison.Ordinal))];

    /// <summary>More bad peers than the thread pool starts with, so that none may keep a worker.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Others_AreAnswered(string kind)
    {
        await AssertAnswersAsync(10);
        var bad = Enumerable.Range(0, BadPeers).Select(_ => new BadPeer(kind, Address)).ToArray();
        try
        {
            await UntilAsync(() => bad.All(peer => peer.Bytes > 0));
            await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => AssertAnswersAsync(100))).WaitAsync(Limit);
        }
        finally
        {
            Array.ForEach(bad, peer => peer.Dispose());
        }
        await UntilAsync(() => Server is { ActiveConnections: 0, ActiveStreams: 0, RunningHandlers: 0 });
    }

    /// <summary>(a) It asks for more than may wait, and reads nothing.</summary>
    [Fact]
    public async Task Memory_OfAPeerThatDoesNotRead_IsBounded()
    {
        await AssertAnswersAsync(10);
        var before = Heap();
        using var peer = BadPeer.Connect(Address);
        var request = BadPeer.Request(0, "Give", "10000");
        for (uint id = 1; id < 6000; id += 2)
        {
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(4), id);
            if (!TrySend(peer, request))
            {
                break; // cut off already
            }
        }
        // Handlers wait with their answers; those are theirs, 10 KB each, 1,024 of them.
        AssertBounded(before);
        await AssertAnswersAsync(10);
    }

    /// <summary>(b) Frames without sense.</summary>
    [Fact]
    public async Task Memory_OfAPeerThatSendsGarbage_IsBounded()
    {
        await AssertAnswersAsync(10);
        var before = Heap();
        using (var bad = new BadPeer("garbage", Address))
        {
            for (var i = 1; i <= 5; i++)
            {
                await UntilAsync(() => bad.Bytes > i * (4 << 20));
                AssertBounded(before);
            }
        }
        await AssertAnswersAsync(10);
    }

    /// <summary>(b) A frame that never ends, on a hundred connections: what was announced is not what is held.</summary>
    [Fact]
    public async Task Memory_OfFramesThatNeverEnd_IsWhatHasCome()
    {
        await AssertAnswersAsync(10);
        var before = Heap();
        var start = BadPeer.Frame(1, FrameType.Request, FrameFlags.None, new byte[4 << 20]).AsMemory(0, 1000).ToArray();
        var peers = Enumerable.Range(0, 100).Select(_ => BadPeer.Connect(Address)).ToArray();
        foreach (var peer in peers)
        {
            peer.Send(start);
        }
        await UntilAsync(() => Server.ActiveConnections == 100);
        AssertBounded(before);
        await AssertAnswersAsync(10);
        Array.ForEach(peers, peer => peer.Dispose());
    }

    /// <summary>(c) Messages that nobody reads, of several sizes: small ones weigh more than their bytes.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(100_000)]
    public async Task Memory_OfAFloodedStream_IsBounded(int size)
    {
        await AssertAnswersAsync(10);
        var before = Heap();
        using var peer = BadPeer.Connect(Address);
        peer.Send(BadPeer.Open(1));
        var frame = BadPeer.Frame(1, FrameType.Data, FrameFlags.None, Messages.Blob(size) is var message ? Google.Protobuf.MessageExtensions.ToByteArray(message) : []);
        // The queue's 8 MiB and more, looked at on the way up and beyond.
        var (frames, piece) = ((12 << 20) / (size + 128), new MemoryStream());
        for (var i = 0; i < 8; i++)
        {
            piece.SetLength(0);
            for (var j = 0; j < Math.Max(1, frames / 8); j++)
            {
                piece.Write(frame);
            }
            peer.Send(piece.ToArray());
            AssertBounded(before);
        }
        await UntilAsync(() => Server.ActiveStreams == 0); // it has failed
        AssertBounded(before);
        await AssertAnswersAsync(10);
    }

    /// <summary>(d) As many streams as it can open.</summary>
    [Fact]
    public async Task Memory_OfThousandsOfStreams_IsBounded()
    {
        await AssertAnswersAsync(10);
        var before = Heap();
        using var peer = BadPeer.Connect(Address);
        for (uint id = 1; id < 10_000; id += 2)
        {
            if (!TrySend(peer, BadPeer.Open(id)))
            {
                break;
            }
        }
        await UntilAsync(() => Server.ActiveStreams > 0);
        AssertBounded(before);
        await AssertAnswersAsync(10);
    }

    private static bool TrySend(Socket socket, byte[] bytes)
    {
        try
        {
            return socket.Send(bytes) == bytes.Length;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static void AssertBounded(long before)
    {
        var now = Heap();
        TestContext.Current.TestOutputHelper?.WriteLine($"{Show(before)} before, {Show(now)} now");
        Assert.True(now - before < Bound, $"{Show(before)} before, {Show(now)} now");
    }
}
