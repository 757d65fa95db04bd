using System.Runtime.InteropServices;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>What our client sees of a Go server's end.</summary>
public sealed partial class ClientLifetimeTests(GoToolchain go) : GoServerTest(go)
{
    private const int SigTerm = 15;

    [Fact]
    public async Task ServerKilledMidCall_IsUnavailable()
    {
        ServerMayEnd = true;
        var call = Peer.WaitAsync(Messages.Text(""));
        var stream = Peer.Idle();
        Assert.Equal("a", await TextAsync(Peer.EchoAsync(Messages.Text("a"))));
        Server.Kill();
        await FailsAsync(StatusCode.Unavailable, call.ResponseAsync);
        await FailsAsync(StatusCode.Unavailable, stream.ResponseStream.MoveNext(default));
        await UntilAsync(() => Task.FromResult(Ttrpc.Closed.IsCancellationRequested));
        await FailsAsync(StatusCode.Unavailable, Peer.EchoAsync(Messages.Text("a")).ResponseAsync);
        await FailsAsync(StatusCode.Unavailable, stream.RequestStream.WriteAsync(Messages.Text("a")));
        Assert.Equal(0, Ttrpc.ActiveStreams);
    }

    [Fact]
    public async Task ServerStoppedGracefully_AnswersWhatItHasBegun()
    {
        ServerMayEnd = true;
        var calls = Enumerable.Range(0, 20).Select(_ => TextAsync(Peer.NapAsync(Messages.Text("700")))).ToArray();
        Assert.Equal("a", await TextAsync(Peer.EchoAsync(Messages.Text("a"))));
        Assert.Equal(0, Kill(Server.Id, SigTerm));
        Assert.All(await Task.WhenAll(calls), answer => Assert.Equal("700", answer));
        Assert.Equal(0, await Server.EndAsync(Limit));
        await UntilAsync(() => Task.FromResult(Ttrpc.Closed.IsCancellationRequested));
        await FailsAsync(StatusCode.Unavailable, Peer.EchoAsync(Messages.Text("a")).ResponseAsync);
    }

    /// <summary>A server that ends one direction of the connection: nothing more can come of it.</summary>
    [Theory]
    [InlineData("write")]
    [InlineData("read")]
    public async Task ServerThatIsHalfGone_IsUnavailable(string direction)
    {
        var call = Peer.WaitAsync(Messages.Text(""));
        using var stream = Peer.Idle();
        // Its own answer may have been sent before, or not.
        await Task.WhenAny(Peer.ShutAsync(Messages.Text(direction)).ResponseAsync).WaitAsync(Limit);
        await FailsAsync(StatusCode.Unavailable, call.ResponseAsync);
        await FailsAsync(StatusCode.Unavailable, stream.ResponseStream.MoveNext(default));
        await UntilAsync(() => Task.FromResult(Ttrpc.Closed.IsCancellationRequested));
        Assert.Equal(0, Ttrpc.ActiveStreams);
        var (_, peer) = await ConnectAsync();
        Assert.Equal("alive", await TextAsync(peer.EchoAsync(Messages.Text("alive"))));
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
