using System.Net.Sockets;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

#pragma warning disable CA1416 // unix sockets: not for Windows

namespace Kuasar.Protocol.Tests.Server;

public sealed class UnixTests : IDisposable
{
    private static readonly EchoMessage Hello = new() { Text = "hello" };
    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar").FullName;

    private string Path => System.IO.Path.Combine(_folder, "sub", "s.sock");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task FourKinds_ManyAtOnce_LeaveNothing(bool isAbstract)
    {
        var address = isAbstract ? $"kuasar-test-{Environment.ProcessId}" : $"unix://{Path}";
        await using var source = UnixConnectionSource.Bind(address);
        await using var test = new TestServer();
        var serving = test.Server.ServeAsync(source, default);
        await using var client = await TtrpcClient.ConnectAsync(address);
        var echo = new Echo.EchoClient(client);
        await Task.WhenAll(Enumerable.Range(0, 64).Select(i => Task.Run(() => Calls.FourKindsAsync(echo, i)))).WaitAsync(Wait.Limit);
        Assert.Equal(0, client.ActiveStreams);
        await Wait.Until(() => test.Server is { ActiveStreams: 0, RunningHandlers: 0 });
        await test.Server.StopAsync(TimeSpan.FromSeconds(5)).Within();
        await serving.Within();
        await Wait.Until(() => client.Closed.IsCancellationRequested);
    }

    [Fact]
    public async Task LargeMessages_BothWays()
    {
        await using var source = UnixConnectionSource.Bind(Path);
        await using var test = new TestServer();
        _ = test.Server.ServeAsync(source, default);
        await using var client = await TtrpcClient.ConnectAsync(Path);
        var big = new EchoMessage { Blob = ByteString.CopyFrom(Enumerable.Range(0, 4_000_000).Select(i => (byte)i).ToArray()) };
        var calls = Enumerable.Range(0, 8).Select(_ => new Echo.EchoClient(client).UnaryAsync(big).ResponseAsync).ToArray();
        foreach (var call in calls)
        {
            Assert.Equal(big, await call.Within());
        }
    }

    [Fact]
    public async Task Peer_IsTheKernels_AndTheLocalAddressTheSocket()
    {
        ServerCallContext? seen = null;
        PeerCredentials? peer = null;
        AuthContext? auth = null;
        await using var source = UnixConnectionSource.Bind(Path);
        await using var test = new TestServer(new EchoService
        {
            OnUnary = (m, context) =>
            {
                seen = context;
                peer = context.GetConnection().Peer;
                auth = context.AuthContext;
                return Task.FromResult(m);
            },
        });
        _ = test.Server.ServeAsync(source, default);
        await using var client = await TtrpcClient.ConnectAsync(Path);
        await new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync.Within();
        Assert.Equal(Environment.ProcessId, peer.GetValueOrDefault().ProcessId);
        Assert.Equal(Path, seen!.GetConnection().LocalAddress);
        Assert.StartsWith($"unix:pid={Environment.ProcessId},", seen!.Peer, StringComparison.Ordinal);
        Assert.True(auth!.IsPeerAuthenticated);
        Assert.Equal($"{peer.GetValueOrDefault().UserId}", Assert.Single(auth.PeerIdentity).Value);
        Assert.Equal($"{Environment.ProcessId}", Assert.Single(auth.FindPropertiesByName("unix.pid")).Value);
        Assert.Equal($"{peer.GetValueOrDefault().GroupId}", Assert.Single(auth.FindPropertiesByName("unix.gid")).Value);
    }

    [Fact]
    public async Task Bind_SetsModes_AndRemovesItsFile()
    {
        var source = UnixConnectionSource.Bind(Path);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
            File.GetUnixFileMode(System.IO.Path.GetDirectoryName(Path)!));
        await source.DisposeAsync();
        Assert.False(File.Exists(Path));
        Assert.Null(await source.AcceptAsync(default));
    }

    [Fact]
    public async Task Bind_ReplacesADeadSocket_NeverALiveOne()
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(Path)!);
        using (var dead = Protocol.Transport.UnixSocket.Bind(new UnixDomainSocketEndPoint(Path)))
        {
            dead.Listen();
        }
        Assert.True(File.Exists(Path));
        await using var source = UnixConnectionSource.Bind(Path);
        var error = Assert.Throws<SocketException>(() => UnixConnectionSource.Bind(Path));
        Assert.Equal(SocketError.AddressAlreadyInUse, error.SocketErrorCode);
        await using var client = await TtrpcClient.ConnectAsync(Path); // still there
    }

    [Fact]
    public void Bind_LeavesAnotherFileAlone()
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(Path)!);
        File.WriteAllText(Path, "precious");
        Assert.Throws<SocketException>(() => UnixConnectionSource.Bind(Path));
        Assert.Equal("precious", File.ReadAllText(Path));
    }

    [Fact]
    public async Task Dispose_LeavesASuccessorsSocketAlone()
    {
        var old = UnixConnectionSource.Bind(Path);
        File.Delete(Path);
        await using var successor = UnixConnectionSource.Bind(Path);
        await old.DisposeAsync();
        Assert.True(File.Exists(Path));
        await using var client = await TtrpcClient.ConnectAsync(Path);
    }

    [Fact]
    public async Task PeerPolicy_Refused_AndThrowing_DoNotEndAccepting()
    {
        var policy = new FirstTwoFail();
        await using var source = UnixConnectionSource.Bind(Path, new UnixSocketOptions { PeerPolicy = policy });
        await using var test = new TestServer();
        _ = test.Server.ServeAsync(source, default);
        for (var i = 0; i < 2; i++)
        {
            await using var refused = await TtrpcClient.ConnectAsync(Path);
            await RpcAssert.Fails(StatusCode.Unavailable, new Echo.EchoClient(refused).UnaryAsync(Hello).ResponseAsync);
        }
        await using var client = await TtrpcClient.ConnectAsync(Path);
        await new Echo.EchoClient(client).UnaryAsync(Hello).ResponseAsync.Within();
        Assert.True(PeerPolicy.SameUser.Allows(policy.Last) && PeerPolicy.Any.Allows(policy.Last));
        Assert.Equal(policy.Last is { UserId: 0, GroupId: 0 }, PeerPolicy.Root.Allows(policy.Last));
    }

    [Fact]
    public async Task PeerThatDoesNotRead_OnASocket_IsAborted()
    {
        await using var source = UnixConnectionSource.Bind(Path);
        var blob = new EchoMessage { Blob = ByteString.CopyFrom(new byte[1_000_000]) };
        var time = new ManualTime();
        await using var test = new TestServer(
            new EchoService { OnUnary = (_, _) => Task.FromResult(blob) }, new TtrpcServerOptions { TimeProvider = time });
        _ = test.Server.ServeAsync(source, default);
        var socket = await Protocol.Transport.UnixSocket.ConnectAsync(new UnixDomainSocketEndPoint(Path), default);
        await using var peer = new RawPeer(Connection.FromSocket(socket));
        for (uint id = 1; id < 20; id += 2)
        {
            await peer.SendRequest(id, "Unary", Hello);
        }
        await Wait.Until(() => time.Armed == 1);
        time.Advance(TimeSpan.FromSeconds(30));
        await Wait.Until(() => test.Server.ActiveConnections == 0);
    }

    private sealed class FirstTwoFail : PeerPolicy
    {
        private int _count;

        public PeerCredentials Last { get; private set; }

        public override bool Allows(PeerCredentials peer)
        {
            Last = peer;
            return _count++ switch
            {
                0 => false,
                1 => throw new InvalidOperationException("the policy fails"),
                _ => true,
            };
        }
    }
}
