using System.Net.Sockets;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;
using Kuasar.Protocol.Transport;

#pragma warning disable CA1416 // unix sockets: not for Windows

namespace Kuasar.Protocol.Tests.Transport;

/// <summary>What must hold whatever carries the bytes.</summary>
public sealed class TransportTests
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };

    [Theory]
    [MemberData(nameof(Link.All), MemberType = typeof(Link))]
    public async Task FourKinds_ManyAtOnce_AndLargeOnes(string transport)
    {
        await using var link = await Link.CreateAsync(transport);
        await using var test = new TestServer();
        var serving = test.Server.ServeAsync(link.Server, default);
        await using var client = new TtrpcClient(link.Client);
        var echo = new Echo.EchoClient(client);
        var large = new EchoMessage { Blob = ByteString.CopyFrom(Enumerable.Range(0, 3_000_000).Select(i => (byte)i).ToArray()) };
        var calls = Enumerable.Range(0, 16).Select(i => Task.Run(() => Calls.FourKindsAsync(echo, i))).ToArray();
        Assert.Equal(large, await echo.UnaryAsync(large).ResponseAsync.Within());
        await Task.WhenAll(calls).Within();
        Assert.Equal(0, client.ActiveStreams);
        await client.DisposeAsync();
        if (transport != "multiplexed") // whose end the peer does not learn
        {
            await serving.Within();
        }
    }

    [Theory]
    [MemberData(nameof(Link.All), MemberType = typeof(Link))]
    public async Task AnOrderlyEnd_DeliversTheLastAnswer(string transport)
    {
        await using var link = await Link.CreateAsync(transport);
        var (started, go) = (NewSource(), NewSource());
        var large = new EchoMessage { Blob = ByteString.CopyFrom(new byte[2_000_000]) };
        await using var test = new TestServer(new EchoService
        {
            OnUnary = async (_, _) => { started.SetResult(); await go.Task; return large; },
        });
        _ = test.Server.ServeAsync(link.Server, default);
        await using var client = new TtrpcClient(link.Client);
        var call = new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync;
        await started.Task.Within();
        var stopping = test.Server.StopAsync(Wait.Limit);
        go.SetResult();
        Assert.Equal(large, await call.Within());
        await stopping.Within();
    }

    [Theory]
    [MemberData(nameof(Link.Raw), MemberType = typeof(Link))]
    public async Task TheServersEnd_EndsTheClient(string transport)
    {
        await using var link = await Link.CreateAsync(transport);
        var started = NewSource();
        await using var test = new TestServer(new EchoService { OnUnary = async (m, context) => { started.SetResult(); return await Never(context, m); } });
        _ = test.Server.ServeAsync(link.Server, default);
        await using var client = new TtrpcClient(link.Client);
        var call = new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync;
        await started.Task.Within();
        await test.Server.StopAsync(TimeSpan.Zero).Within();
        await RpcAssert.Fails(StatusCode.Unavailable, call);
        await Wait.Until(() => client.Closed.IsCancellationRequested);
    }

    [Theory]
    [MemberData(nameof(Link.HalfClosing), MemberType = typeof(Link))]
    public async Task AHalfClosedClient_IsAGoneClient(string transport)
    {
        await using var link = await Link.CreateAsync(transport);
        var (started, cancelled) = (NewSource(), NewSource());
        await using var test = new TestServer(new EchoService
        {
            OnUnary = async (m, context) =>
            {
                context.CancellationToken.Register(cancelled.SetResult);
                started.SetResult();
                return await Never(context, m);
            },
        });
        var serving = test.Server.ServeAsync(link.Server, default);
        await using var peer = new RawPeer(link.Client);
        await peer.SendRequest(1, "Unary", Hello);
        await started.Task.Within();
        await link.HalfClose!();
        await cancelled.Task.Within();
        await serving.Within();
        Assert.Null(await peer.TryReceive()); // no answer, and the end of the other direction
    }

    [Theory]
    [MemberData(nameof(Link.All), MemberType = typeof(Link))]
    public async Task Abort_EndsReadsAndWrites_AnyTimes_AtBothEnds(string transport)
    {
        await using var link = await Link.CreateAsync(transport);
        var reading = Ended(async () => (await link.Client.Transport.Input.ReadAsync()) is { IsCanceled: true } or { IsCompleted: true });
        var writing = Ended(async () =>
            (await link.Client.Transport.Output.WriteAsync(new byte[64 * 1024])) is { IsCanceled: true } or { IsCompleted: true });
        await Task.Delay(50); // both are likely waiting by then; either way they must end
        link.Client.Abort();
        link.Client.Abort();
        await Task.WhenAll(reading, writing).Within();
        await Ended(async () =>
        {
            var read = await link.Server.Transport.Input.ReadAsync();
            link.Server.Transport.Input.AdvanceTo(read.Buffer.End);
            return read.IsCompleted || read.IsCanceled;
        }).Within();
        await link.Client.DisposeAsync();
        await link.Client.DisposeAsync();
    }

    [Theory]
    [InlineData("/run/x.sock", "/run/x.sock")]
    [InlineData("unix:///run/x.sock", "/run/x.sock")]
    [InlineData("unix://relative.sock", "relative.sock")]
    [InlineData("unix://@/containerd-shim/abc.sock", "@/containerd-shim/abc.sock")]
    [InlineData("@name", "@name")]
    [InlineData("containerd-shim/abc.sock", "@containerd-shim/abc.sock")] // containerd 1.x: neither scheme nor slash
    public void Addresses_AsContainerdWritesThem(string address, string shown)
    {
        Assert.Equal(shown, UnixAddress.Show(address));
        Assert.Equal(shown, UnixAddress.Parse(address).ToString());
    }

    [Theory]
    [InlineData("vsock://3:1024")]
    [InlineData("hvsock:///run/vm.sock:1024")]
    [InlineData("tcp://127.0.0.1:1")]
    [InlineData("npipe://./pipe/x")]
    public async Task OtherSchemes_AreRefused_WithWhatToDo(string address)
    {
        var error = await Assert.ThrowsAsync<ArgumentException>(() => TtrpcClient.ConnectAsync(address).AsTask());
        Assert.Contains(address, error.Message, StringComparison.Ordinal);
        Assert.Contains("Connection.FromSocket", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => UnixConnectionSource.Bind(address));
    }

    [Theory]
    [InlineData("unix://")]
    [InlineData("@")]
    [InlineData("/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678")]
    public async Task AddressesThatNameNothing_OrTooLong_AreRefused(string address) =>
        await Assert.ThrowsAnyAsync<ArgumentException>(() => TtrpcClient.ConnectAsync(address).AsTask());

    /// <summary>Firecracker's and Cloud Hypervisor's way to a guest: the seam for vsock of every kind.</summary>
    [Fact]
    public async Task ASocketWithAHandshakeBefore_AsHybridVsock()
    {
        await using var link = await Link.CreateAsync("tcp");
        await using var test = new TestServer();
        var guest = Task.Run(async () =>
        {
            var input = link.Server.Transport.Input;
            var read = await input.ReadAtLeastAsync("CONNECT 1024\n".Length);
            Assert.Equal("CONNECT 1024\n", Encoding.ASCII.GetString(read.Buffer));
            input.AdvanceTo(read.Buffer.End);
            await link.Server.Transport.Output.WriteAsync("OK 1073741824\n"u8.ToArray());
            await test.Server.ServeAsync(link.Server, default);
        });
        await link.Client.Transport.Output.WriteAsync("CONNECT 1024\n"u8.ToArray());
        var line = await link.Client.Transport.Input.ReadAtLeastAsync("OK 1073741824\n".Length);
        link.Client.Transport.Input.AdvanceTo(line.Buffer.End);
        await using (var client = new TtrpcClient(link.Client))
        {
            Assert.Equal(Hello, await new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync.Within());
        }
        await guest.Within();
    }

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static async Task<EchoMessage> Never(ServerCallContext context, EchoMessage message)
    {
        await Task.Delay(Timeout.Infinite, context.CancellationToken);
        return message;
    }

    /// <summary>Until it says it is over or throws what transports throw.</summary>
    private static async Task Ended(Func<Task<bool>> step)
    {
        try
        {
            while (!await step())
            {
            }
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException or InvalidOperationException or SocketException or OperationCanceledException)
        {
            // An end, too.
        }
    }
}
