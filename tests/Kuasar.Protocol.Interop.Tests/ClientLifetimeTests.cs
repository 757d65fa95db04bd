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

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
