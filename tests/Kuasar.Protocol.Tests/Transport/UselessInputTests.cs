using System.IO.Pipelines;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Server;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;
using Kuasar.Protocol.Transport;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Protocol.Tests.Transport;

public sealed class UselessInputTests
{
    [Fact]
    public void FewFrames_AndOneTooLargeMessage_WaitForNothing()
    {
        var input = new UselessInput();
        Assert.Equal(0, input.Add(UselessInput.PatientFrames - 1, 0, useful: false));
        Assert.Equal(0, input.Add(0, UselessInput.PatientBytes - 1, useful: false));
    }

    [Theory]
    [InlineData(UselessInput.PatientFrames, 10_000, 1)]
    [InlineData(1, UselessInput.PatientBytes, 16)] // 64 KiB are a millisecond
    [InlineData(1, 4 << 20, 64)]
    public void MoreThanThat_Waits_UntilAFrameIsOfUse(int frames, long bytes, int wait)
    {
        var input = new UselessInput();
        Assert.Equal(wait, input.Add(frames, bytes, useful: false));
        Assert.InRange(input.Add(1, 100, useful: false), 1, 8);
        Assert.Equal(0, input.Add(frames, bytes, useful: true));
        Assert.Equal(0, input.Add(1, 100, useful: false));
    }

    [Fact]
    public void TheLongerItGoesOn_TheSlower_ToALimit()
    {
        var input = new UselessInput();
        var waits = Enumerable.Range(0, 1000).Select(_ => input.Add(600, 1 << 16, useful: false)).ToArray();
        Assert.Equal(waits.Order(), waits);
        Assert.Equal(8, waits[^1]);
    }

    /// <summary>Many good calls, each with useless frames beside it, are not a reason to wait.</summary>
    [Fact]
    public void AFrameOfUseAmongThem_ForgivesAll()
    {
        var input = new UselessInput();
        Assert.All(Enumerable.Range(0, 1000), _ => Assert.Equal(0, input.Add(500, 1 << 19, useful: true)));
    }

    /// <summary>A pipe that always has bytes must not keep its thread: others wait for it.</summary>
    [Fact]
    public async Task APipeThatAlwaysHasBytes_GivesItsThreadBack()
    {
        await using var connection = new EndlessConnection();
        var sink = new ServerConnection(connection, new MethodTable(), new TtrpcServerOptions(), NullLogger.Instance);
        // Returns: that is the test.
        var reading = FrameLoop.RunAsync(connection, 1000, sink, new(Dedicated: false, Inline: false));
        Assert.False(reading.IsCompleted);
        connection.Abort();
        await reading.Within();
    }

    private sealed class EndlessConnection : Connection, IDuplexPipe
    {
        private readonly EndlessReader _input = new();

        public PipeReader Input => _input;
        public PipeWriter Output { get; } = new Pipe().Writer;
        public override IDuplexPipe Transport => this;
        public override void Abort() => _input.CancelPendingRead();
        public override ValueTask DisposeAsync() => default;
    }

    // Part of one frame after the other, so that nothing is useless.
    private sealed class EndlessReader : PipeReader
    {
        private readonly byte[] _nothing = RawPeer.Frame(1, (FrameType)9, 0, []);
        private volatile bool _ended;

        public override void AdvanceTo(SequencePosition consumed)
        {
        }

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
        {
        }

        public override void CancelPendingRead() => _ended = true;

        public override void Complete(Exception? exception = null)
        {
        }

        public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default) =>
            new(new ReadResult(new(_nothing, 0, 5), _ended, isCompleted: false));

        public override bool TryRead(out ReadResult result) => throw new NotSupportedException();
    }
}

/// <summary>What a server does with a peer whose frames are of no use.</summary>
public abstract class UselessPeerTests
{
    private static readonly EchoMessage One = new() { Number = 1 };
    private readonly Wire _wire;

    private protected UselessPeerTests(Wire wire) => _wire = wire;

    /// <summary>Data of streams that were, and a message that is too large.</summary>
    [Fact]
    public async Task PeerOfUselessFrames_IsSlowed_AndAnsweredAllTheSame()
    {
        await using var server = new TestServer(options: new TtrpcServerOptions { MaxMessageSize = 1000 }, wire: _wire);
        await using var peer = server.Raw();
        for (var id = 1u; id <= 5; id += 2)
        {
            await peer.SendRequest(id, "Unary", One);
            Assert.Equal(id, (await peer.Receive()).Id);
            for (var i = 0; i < 10; i++)
            {
                await peer.SendBytes(Useless(id, 1000));
            }
            await peer.Send(id, FrameType.Data, 0, new byte[3 << 20]);
        }
        await peer.SendRequest(7, "Unary", One);
        Assert.Equal(0, (await ReceiveAfter(peer, 7)).Code);
    }

    [Fact]
    public async Task PeerOfUselessFrames_StopsTheServerNoLater()
    {
        await using var server = new TestServer(wire: _wire);
        await using var peer = server.Raw();
        var sending = SendAsync(peer);
        await Wait.Until(() => server.Server.ActiveConnections == 1);
        await server.Server.StopAsync(TimeSpan.Zero).Within();
        await sending.Within();
    }

    private static async Task<RawFrame> ReceiveAfter(RawPeer peer, uint id)
    {
        while (true)
        {
            var frame = await peer.Receive();
            if (frame.Id == id)
            {
                return frame;
            }
        }
    }

    // Until the server has closed.
    private static async Task SendAsync(RawPeer peer)
    {
        try
        {
            while (!(await peer.Connection.Transport.Output.WriteAsync(Useless(2, 1000))).IsCompleted)
            {
            }
        }
        catch (Exception error) when (error is IOException or InvalidOperationException)
        {
        }
    }

    private static byte[] Useless(uint id, int count) =>
        [.. Enumerable.Range(0, count).SelectMany(_ => RawPeer.Frame(id, (FrameType)9, 0, new byte[10]))];
}

public sealed class UselessPeerMemoryTests() : UselessPeerTests(Wire.Memory);

public sealed class UselessPeerSocketTests() : UselessPeerTests(Wire.Socket);
