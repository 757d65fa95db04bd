using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Server;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Server;

/// <summary>What the calls of a connection hold together is bounded, and nothing is counted when they have ended.</summary>
public abstract class ReceivedBytesTests
{
    private const int Limit = 100_000;
    private static readonly EchoMessage One = new() { Number = 1 };
    private static readonly EchoMessage Large = new() { Blob = ByteString.CopyFrom(new byte[40_000]) };
    private static readonly TtrpcServerOptions Options = new() { MaxReceivedBytesPerConnection = Limit };
    private readonly Wire _wire;
    private readonly TaskCompletionSource _gate = new();
    private volatile ServerConnection? _connection;

    private protected ReceivedBytesTests(Wire wire) => _wire = wire;

    [Fact]
    public async Task UnaryFlood_FailsTheCallsThatGoOver_AndNoOther()
    {
        await using var server = new TestServer(Service(), Options, _wire);
        await using var peer = server.Raw();
        for (var id = 1u; id <= 21; id += 2)
        {
            await peer.SendRequest(id, "Unary", Large);
        }
        for (var refused = 0; refused < 9; refused++) // two of eleven fit
        {
            Assert.Equal((int)StatusCode.ResourceExhausted, (await peer.Receive()).Code);
        }
        await peer.SendRequest(23, "Unary", One);
        var small = await peer.Receive();
        Assert.Equal((23u, 0), (small.Id, small.Code));
        _gate.SetResult();
        Assert.Equal(new HashSet<uint> { 1, 3 }, [(await peer.Receive()).Id, (await peer.Receive()).Id]);
        await NothingIsHeld(server);
    }

    [Fact]
    public async Task StreamFlood_FailsTheStreamThatGoesOver_AndNoOther()
    {
        await using var server = new TestServer(Service(), Options, _wire);
        await using var peer = server.Raw();
        for (var id = 1u; id <= 5; id += 2)
        {
            await peer.SendRequest(id, "Up", null, FrameFlags.OpenStream);
            await peer.SendData(id, Large);
        }
        var over = await peer.Receive();
        Assert.Equal((5u, (int)StatusCode.ResourceExhausted), (over.Id, over.Code));
        await peer.SendRequest(7, "Unary", One);
        Assert.Equal(7u, (await peer.Receive()).Id);
        await peer.SendEnd(1);
        await peer.SendEnd(3);
        _gate.SetResult();
        Assert.Equal(new HashSet<uint> { 1, 3 }, [(await peer.Receive()).Id, (await peer.Receive()).Id]);
        await NothingIsHeld(server);
    }

    [Fact]
    public async Task MessagesThatAreRead_MakeRoom_AndOneFitsAtAnySize()
    {
        var options = new TtrpcServerOptions { MaxReceivedBytesPerConnection = 1 };
        await using var server = new TestServer(new EchoService(), options, _wire);
        await using var peer = server.Raw();
        await peer.SendRequest(1, "Both", null, FrameFlags.OpenStream);
        for (var i = 0; i < 10; i++)
        {
            await peer.SendData(1, Large);
            Assert.Equal(Large, (await peer.Receive()).AsMessage);
        }
        await peer.SendRequest(3, "Unary", Large);
        Assert.Equal(3u, (await peer.Receive()).Id);
    }

    public static TheoryData<string, string> Ends => new MatrixTheoryData<string, string>(
        ["Unary", "Down", "Up", "Both"], ["returns", "throws", "later", "deadline", "misuse", "undecodable", "gone", "aborted"]);

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task WhateverEndsACall_ItsBytesAreGivenBack(string method, string end)
    {
        await using var server = new TestServer(Service(end), Options, _wire);
        await using var peer = server.Raw();
        // A call before, so that the connection is known whatever becomes of the other.
        await peer.SendRequest(1, "Unary", One);
        await peer.Receive();
        var hasStream = method is "Up" or "Both";
        await peer.SendRequest(3, method, Large, hasStream ? FrameFlags.OpenStream : 0, timeout: end == "deadline" ? 20_000_000 : 0);
        if (hasStream)
        {
            await peer.SendData(3, Large);
        }
        switch (end)
        {
            case "misuse":
                await peer.SendData(3, One, FrameFlags.RemoteClosed);
                await peer.SendData(3, One);
                break;
            case "undecodable" when hasStream:
                await peer.Send(3, FrameType.Data, 0, [0xff]);
                break;
            case "undecodable":
                await peer.Send(5, FrameType.Request, 0, new Request
                {
                    Service = RawPeer.Service, Method = method, Payload = ByteString.CopyFrom(0xff),
                }.ToByteArray());
                break;
            case "gone":
                await peer.DisposeAsync();
                break;
            case "aborted":
                peer.Connection.Abort();
                break;
        }
        if (end is "misuse" or "undecodable" or "later")
        {
            _gate.SetResult();
        }
        await NothingIsHeld(server);
    }

    private async Task NothingIsHeld(TestServer server)
    {
        await Wait.Until(() => server.Server is { ActiveStreams: 0 } && _connection is { Running: 0, Received.Held: 0 });
    }

    /// <summary>Small requests are answered; a large one's handler ends as it is told to, and reads its stream before it waits no more.</summary>
    private EchoService Service(string end = "later") => new()
    {
        OnUnary = async (request, context) =>
        {
            _connection = ((ServerCall)context).Connection;
            if (request.Blob.Length > 0)
            {
                await EndAsync(end, context);
            }
            return One;
        },
        OnDown = (_, _, context) => EndAsync(end, context),
        OnUp = async (_, context) =>
        {
            _connection = ((ServerCall)context).Connection;
            await EndAsync(end, context);
            return One;
        },
        OnBoth = (_, _, context) => EndAsync(end, context),
    };

    private Task EndAsync(string end, ServerCallContext context) => end switch
    {
        "returns" => Task.CompletedTask,
        "throws" => throw new InvalidOperationException("on purpose"),
        "deadline" or "gone" or "aborted" => _gate.Task.WaitAsync(context.CancellationToken),
        _ => _gate.Task,
    };
}

public sealed class ReceivedBytesMemoryTests() : ReceivedBytesTests(Wire.Memory);

public sealed class ReceivedBytesSocketTests() : ReceivedBytesTests(Wire.Socket);
