using Kuasar.Protocol.Interop.Tests.Protos;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>The Go client against our server. The cases themselves are in tests/interop/go.</summary>
public abstract class ServerCases(GoToolchain go) : InteropTest(go)
{
    private readonly OurPeer _peer = new();
    private TtrpcServer? _server;
    private UnixConnectionSource? _source;
    private Task _serving = Task.CompletedTask;

    /// <summary>Whether the client's socket gives and takes bytes one by one.</summary>
    internal virtual bool Bytewise => false;

    private TtrpcServer Server => _server ?? throw new InvalidOperationException("not initialized");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Start(new TtrpcServerOptions());
    }

    public override async ValueTask DisposeAsync()
    {
        await StopAsync();
        await base.DisposeAsync();
    }

    [Theory]
    [InlineData("unary")]
    [InlineData("empty")]
    [InlineData("codes")]
    [InlineData("unknown")]
    [InlineData("metadata")]
    [InlineData("deadline")]
    [InlineData("expired")]
    [InlineData("cancel")]
    [InlineData("boundary")]
    [InlineData("oversize-request")]
    [InlineData("oversize-response")]
    [InlineData("concurrent")]
    [InlineData("connections")]
    [InlineData("down")]
    [InlineData("up")]
    [InlineData("both")]
    [InlineData("streams")]
    [InlineData("stream-errors")]
    [InlineData("stream-boundary")]
    [InlineData("stream-unknown")]
    [InlineData("stream-rejected")]
    [InlineData("stream-abandoned")]
    [InlineData("stream-ahead")]
    [InlineData("stream-flood")]
    [InlineData("flood")]
    [InlineData("half-open")]
    public async Task Case(string name)
    {
        using var client = Call(name);
        await AssertWellAsync(client, name);
        await UntilAsync(() => Task.FromResult(Server is { ActiveConnections: 0, ActiveStreams: 0, RunningHandlers: 0 }));
    }

    [Fact]
    public async Task OversizeResponse_OfAServerThatKnowsNoLimit_IsRefusedByTheClient()
    {
        await StopAsync();
        Start(new TtrpcServerOptions { MaxMessageSize = 12 << 20 });
        using var client = Call("oversize-response");
        await AssertWellAsync(client, "oversize-response");
    }

    [Fact]
    public async Task ClientKilledMidCall_CancelsItsHandler()
    {
        using var client = Call("hold");
        await UntilAsync(() => Task.FromResult(_peer.Begun == 1));
        Assert.Equal((1, 1), (Server.ActiveStreams, Server.RunningHandlers));
        client.Kill();
        await UntilAsync(() => Task.FromResult(_peer.Cancelled == 1));
        await UntilAsync(() => Task.FromResult(Server is { ActiveConnections: 0, RunningHandlers: 0 }));
    }

    [Fact]
    public async Task ServerGoneMidCall_EndsTheClient()
    {
        using var client = Call("hold");
        await UntilAsync(() => Task.FromResult(_peer.Begun == 1));
        await StopAsync();
        await AssertWellAsync(client, "hold");
    }

    [Fact]
    public async Task ServerStoppedGracefully_AnswersWhatItHasBegun()
    {
        using var client = Call("drain");
        await UntilAsync(() => Task.FromResult(_peer.Begun == 20));
        await Server.StopAsync(Limit).WaitAsync(Limit);
        await AssertWellAsync(client, "drain");
    }

    private Program Call(params string[] names) => new(GoToolchain.Program, Bytewise, ["call", SocketPath, .. names]);

    private static async Task AssertWellAsync(Program client, string name)
    {
        var code = await client.EndAsync(Limit);
        Assert.True(code == 0, client.Output);
        Assert.Contains($"ok {name}\n", client.Output, StringComparison.Ordinal);
    }

    private void Start(TtrpcServerOptions options)
    {
        _server = new TtrpcServer(options);
        Peer.BindService(_server.Services, _peer);
        _source = UnixConnectionSource.Bind(SocketPath);
        _serving = _server.ServeAsync(_source, default);
    }

    private async Task StopAsync()
    {
        if (_server is not null && _source is not null)
        {
            await _server.DisposeAsync();
            await _serving.WaitAsync(Limit);
            await _source.DisposeAsync();
        }
    }
}

public sealed class ServerTests(GoToolchain go) : ServerCases(go);

public sealed class ServerBytewiseTests(GoToolchain go) : ServerCases(go)
{
    internal override bool Bytewise => true;
}
