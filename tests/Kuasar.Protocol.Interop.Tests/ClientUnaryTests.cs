using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Interop.Tests.Protos;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>Unary calls of our client to the Go server.</summary>
public abstract class ClientUnaryCases(GoToolchain go) : GoServerTest(go)
{
    [Theory]
    [InlineData("hällo")]
    [InlineData("")]
    public async Task Echo(string text)
    {
        Assert.Equal(text, await TextAsync(Peer.EchoAsync(Messages.Text(text))));
        Assert.Equal(text, Peer.Echo(Messages.Text(text)).ToText());
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Status_AllCodes_WithMessageAndDetails()
    {
        // 17 is none of gRPC's, and must not become OK.
        for (var code = 1; code <= 17; code++)
        {
            var status = new RpcStatus { Code = code, Message = $"méssage {code}" };
            status.Details.Add(Any.Pack(Messages.Text("a")));
            status.Details.Add(Any.Pack(new StringValue { Value = "b" }));
            var error = await FailsAsync(
                code <= 16 ? (StatusCode)code : StatusCode.Unknown, Peer.FailAsync(Messages.Bytes(status.ToByteArray())).ResponseAsync);
            Assert.Equal(status.Message, error.Status.Detail);
            Assert.Equal(status, RpcStatus.Parser.ParseFrom(error.Trailers.GetValueBytes("grpc-status-details-bin")));
        }
        var plain = new RpcStatus { Code = 5, Message = "" };
        var bare = await FailsAsync(StatusCode.NotFound, Peer.FailAsync(Messages.Bytes(plain.ToByteArray())).ResponseAsync);
        Assert.Equal(("", 0), (bare.Status.Detail, bare.Trailers.Count));
        await AssertLivesAsync();
    }

    [Theory]
    [InlineData("no.such.Service", "Echo")]
    [InlineData("kuasar.interop.Peer", "NoSuchMethod")]
    [InlineData("", "")]
    public async Task UnknownServiceOrMethod_IsUnimplemented(string service, string name)
    {
        var marshaller = Marshallers.Create(MessageExtensions.ToByteArray, BytesValue.Parser.ParseFrom);
        var method = new Method<BytesValue, BytesValue>(MethodType.Unary, service, name, marshaller, marshaller);
        await FailsAsync(
            StatusCode.Unimplemented, Ttrpc.AsyncUnaryCall(method, null, default, Messages.Text("a")).ResponseAsync);
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Metadata_SeveralValues_InOrder()
    {
        string[] values = ["one", "", "drei: ü 世界", "with\ttab, comma", new('x', 20_000)];
        var headers = new Metadata { { "containerd-namespace-ttrpc", "k8s.io" } };
        foreach (var value in values)
        {
            headers.Add("Kuasar-Key", value);
        }
        Assert.Equal(values, (await TextAsync(Peer.MetaAsync(Messages.Text("kuasar-key"), headers))).Split(Messages.Separator));
        Assert.Equal("k8s.io", await TextAsync(Peer.MetaAsync(Messages.Text("containerd-namespace-ttrpc"), headers)));
        Assert.Equal("none", await TextAsync(Peer.MetaAsync(Messages.Text("kuasar-key"))));
    }

    [Fact]
    public async Task Deadline_TravelsAsTimeLeft()
    {
        var left = await TextAsync(Peer.TimeLeftAsync(Messages.Text(""), deadline: DateTime.UtcNow.AddMinutes(1)));
        Assert.InRange(int.Parse(left, System.Globalization.CultureInfo.InvariantCulture), 30_000, 60_000);
        Assert.Equal("none", await TextAsync(Peer.TimeLeftAsync(Messages.Text(""))));
        Assert.Equal("none", await TextAsync(Peer.TimeLeftAsync(Messages.Text(""), deadline: DateTime.MaxValue)));
    }

    [Fact]
    public async Task Deadline_EndsBothSides_AndTheLateAnswerGoesNowhere()
    {
        await FailsAsync(StatusCode.DeadlineExceeded, Peer.WaitAsync(Messages.Text(""), deadline: In(100)).ResponseAsync);
        await FailsAsync(StatusCode.DeadlineExceeded, Peer.NapAsync(Messages.Text("300"), deadline: In(100)).ResponseAsync);
        await FailsAsync(StatusCode.DeadlineExceeded, Peer.EchoAsync(Messages.Text("a"), deadline: In(-1000)).ResponseAsync);
        Assert.Equal("500", await TextAsync(Peer.NapAsync(Messages.Text("500"))));
        await UntilAsync(async () => await TextAsync(Peer.WaitsAsync(Messages.Text(""))) == "1 deadlines, 0 cancelled");
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Deadline_OfTheServerAlone_Arrives()
    {
        // A clock that stands still: our own timer cannot fire.
        var (_, peer) = await ConnectAsync(new TtrpcClientOptions { TimeProvider = new Frozen() });
        await FailsAsync(StatusCode.DeadlineExceeded, peer.WaitAsync(Messages.Text(""), deadline: Frozen.Now.AddMilliseconds(50)).ResponseAsync);
    }

    [Fact]
    public async Task Cancelled_EndsHere_TheServerGoesOn()
    {
        using var source = new CancellationTokenSource();
        var call = Peer.WaitAsync(Messages.Text(""), cancellationToken: source.Token);
        var late = Peer.NapAsync(Messages.Text("200"), cancellationToken: source.Token);
        await AssertAliveAsync();
        await source.CancelAsync();
        await FailsAsync(StatusCode.Cancelled, call.ResponseAsync);
        await FailsAsync(StatusCode.Cancelled, late.ResponseAsync);
        Assert.Equal("300", await TextAsync(Peer.NapAsync(Messages.Text("300"))));
        Assert.Equal("0 deadlines, 0 cancelled", await TextAsync(Peer.WaitsAsync(Messages.Text(""))));
        await AssertLivesAsync();
        // The end of the connection is what tells the server.
        await Ttrpc.DisposeAsync();
        var (_, other) = await ConnectAsync();
        await UntilAsync(async () => await TextAsync(other.WaitsAsync(Messages.Text(""))) == "0 deadlines, 1 cancelled");
    }

    [Fact]
    public async Task Boundary_FitsToTheLastByte_OneMoreDoesNot()
    {
        var largest = LargestEcho();
        var message = Messages.Blob(largest);
        Assert.Equal(message, await Peer.EchoAsync(message).ResponseAsync.WaitAsync(Limit));
        await FailsAsync(StatusCode.ResourceExhausted, Peer.EchoAsync(Messages.Blob(largest + 1)).ResponseAsync);
        await AssertLivesAsync();
        // Tag and length of the payload, and of the bytes in it.
        var given = await Peer.GiveAsync(Messages.Text(Messages.Number(Messages.Limit - 10))).ResponseAsync.WaitAsync(Limit);
        Assert.Equal(Messages.Limit - 10, given.Value.Length);
        await AssertLivesAsync();
    }

    [Fact]
    public async Task OversizeRequest_OfAClientThatKnowsNoLimit_IsRefusedByTheServer()
    {
        var (_, peer) = await ConnectAsync(new TtrpcClientOptions { MaxMessageSize = 8 << 20 });
        await FailsAsync(StatusCode.ResourceExhausted, peer.EchoAsync(Messages.Blob(LargestEcho() + 1)).ResponseAsync);
        await FailsAsync(StatusCode.ResourceExhausted, peer.EchoAsync(Messages.Blob(6 << 20)).ResponseAsync);
        await AssertLivesAsync(peer);
    }

    [Fact]
    public async Task OversizeResponse_OfGo_TearsItsConnectionDown_ThatIsUnavailable()
    {
        var other = Peer.WaitAsync(Messages.Text(""));
        await FailsAsync(StatusCode.Unavailable, Peer.GiveAsync(Messages.Text(Messages.Number(Messages.Limit - 9))).ResponseAsync);
        await FailsAsync(StatusCode.Unavailable, other.ResponseAsync);
        var (_, peer) = await ConnectAsync();
        await AssertLivesAsync(peer);
    }

    [Fact]
    public async Task OversizeResponse_OverOurOwnLimit_FailsThatCallOnly()
    {
        var (_, peer) = await ConnectAsync(new TtrpcClientOptions { MaxMessageSize = 1000 });
        var other = peer.NapAsync(Messages.Text("300"));
        await FailsAsync(StatusCode.ResourceExhausted, peer.GiveAsync(Messages.Text("100000")).ResponseAsync);
        Assert.Equal("300", await TextAsync(other));
        await AssertLivesAsync(peer);
    }

    [Fact]
    public async Task Concurrent512_AnsweredInReverse()
    {
        const int count = 512;
        var calls = Enumerable.Range(0, count).Select(i => TextAsync(Peer.TurnAsync(Messages.Text($"{i}/{count}")))).ToArray();
        Assert.Equal(Enumerable.Range(0, count).Select(i => $"{i}/{count}"), await Task.WhenAll(calls));
        await AssertLivesAsync();
    }

    /// <summary>Go refuses a stream id that is lower than one before: the wire must carry them in order whoever calls.</summary>
    [Fact]
    public async Task ManyThreads_OneConnection_IdsStayInOrder()
    {
        await Task.WhenAll(Enumerable.Range(0, 16).Select(thread => Task.Run(async () =>
        {
            for (var i = 0; i < 250; i++)
            {
                var text = $"{thread}/{i}";
                Assert.Equal(text, await TextAsync(Peer.EchoAsync(Messages.Text(text))));
            }
        })));
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Connections200_AtOnce()
    {
        var clients = await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => TtrpcClient.ConnectAsync(SocketPath).AsTask()));
        await Task.WhenAll(clients.Select(async (client, i) =>
        {
            await using (client)
            {
                var peer = new Peer.PeerClient(client);
                for (var call = 0; call < 10; call++)
                {
                    var text = $"{call} of connection {i}";
                    Assert.Equal(text, await TextAsync(peer.EchoAsync(Messages.Text(text))));
                }
            }
        }));
    }

    [Fact]
    public async Task Flood_TenThousandAtOnce_GetTheirOwnAnswers()
    {
        var calls = Enumerable.Range(0, 10_000).Select(i => TextAsync(Peer.EchoAsync(Messages.Text(Messages.Number(i))))).ToArray();
        Assert.Equal(Enumerable.Range(0, calls.Length).Select(i => Messages.Number(i)), await Task.WhenAll(calls));
        await AssertLivesAsync();
    }

    /// <summary>Go takes ids to the last; after that a new connection is due, and what is under way goes on.</summary>
    [Fact]
    public async Task IdsExhausted_IsUnavailable_WhatIsUnderWayIsAnswered()
    {
        var (client, peer) = await ConnectAsync(new TtrpcClientOptions { FirstStreamId = uint.MaxValue - 4 });
        var call = peer.NapAsync(Messages.Text("100"));
        Assert.Equal("a", await TextAsync(peer.EchoAsync(Messages.Text("a"))));
        Assert.Equal("b", await TextAsync(peer.EchoAsync(Messages.Text("b"))));
        await FailsAsync(StatusCode.Unavailable, peer.EchoAsync(Messages.Text("c")).ResponseAsync);
        Assert.Equal("100", await TextAsync(call));
        Assert.Equal(0, client.ActiveStreams);
        Assert.False(client.Closed.IsCancellationRequested);
    }

    private static DateTime In(int milliseconds) => DateTime.UtcNow.AddMilliseconds(milliseconds);

    private async Task AssertAliveAsync() => Assert.Equal("a", await TextAsync(Peer.EchoAsync(Messages.Text("a"))));

    // The largest payload whose request fills a frame to the last byte.
    private static int LargestEcho()
    {
        var size = Messages.Limit - 64;
        while (SizeOf(size + 1) <= Messages.Limit)
        {
            size++;
        }
        return size;

        static int SizeOf(int size) => new Request
        {
            Service = "kuasar.interop.Peer",
            Method = "Echo",
            Payload = ByteString.CopyFrom(new byte[Messages.Blob(size).CalculateSize()]),
        }.CalculateSize();
    }

    private sealed class Frozen : TimeProvider
    {
        internal static readonly DateTime Now = new(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc);

        public override DateTimeOffset GetUtcNow() => Now;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }
}

public sealed class ClientUnaryTests(GoToolchain go) : ClientUnaryCases(go);

public sealed class ClientUnaryBytewiseTests(GoToolchain go) : ClientUnaryCases(go)
{
    internal override bool Bytewise => true;
}
