using System.Diagnostics;
using Google.Protobuf;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

#pragma warning disable CA1416 // unix sockets: not for Windows

namespace Kuasar.Protocol.Tests.Transport;

/// <summary>Policies against processes of other users and groups, which root can make; perl-base and util-linux are in every Debian.</summary>
public sealed class PeerPolicyTests : IDisposable
{
    private const uint Nobody = 65534;
    private static readonly (string Name, PeerPolicy Policy)[] Policies =
    [
        ("any", PeerPolicy.Any),
        ("root", PeerPolicy.Root),
        ("same", PeerPolicy.SameUser),
        ("user", PeerPolicy.Match(Nobody, null)),
        ("group", PeerPolicy.Match(null, Nobody)),
        ("both", PeerPolicy.Match(Nobody, Nobody)),
        ("neither", PeerPolicy.Match(null, null)),
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(0u, 0u, "any root same neither")]
    [InlineData(Nobody, Nobody, "any user group both neither")]
    [InlineData(0u, Nobody, "any group neither")] // Go's root and same user ask for the group too
    [InlineData(Nobody, 0u, "any user neither")]
    public async Task Server_LetsIn(uint user, uint group, string expected)
    {
        RequireRootAndTools();
        await using var test = new TestServer();
        var sources = new List<UnixConnectionSource>();
        foreach (var (name, policy) in Policies)
        {
            var source = UnixConnectionSource.Bind(
                Path.Combine(_folder, name), new UnixSocketOptions { PeerPolicy = policy, FileMode = (UnixFileMode)0x1B6 });
            sources.Add(source);
            _ = test.Server.ServeAsync(source, default);
        }
        var request = new Request { Service = RawPeer.Service, Method = "Unary" };
        var frame = RawPeer.Frame(1, FrameType.Request, 0, request.ToByteArray());
        const string script = """
            use IO::Socket::UNIX; $SIG{PIPE} = "IGNORE"; my ($bytes, @paths) = @ARGV; my @in;
            for my $path (@paths) {
              my $s = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!";
              syswrite($s, pack("H*", $bytes));
              push @in, $path =~ s/.*\///r if sysread($s, my $answer, 10);
            }
            print "@in\n";
            """;
        using var child = Start(user, group, script, [Convert.ToHexString(frame), .. sources.Select(source => source.Address)]);
        var output = (await child.StandardOutput.ReadToEndAsync().Within()).TrimEnd();
        await child.WaitForExitAsync().Within();
        foreach (var source in sources)
        {
            await source.DisposeAsync();
        }
        Assert.Equal((0, expected), (child.ExitCode, output));
    }

    [Theory]
    [InlineData(0u, 0u, "any root same neither")]
    [InlineData(Nobody, Nobody, "any user group both neither")]
    [InlineData(0u, Nobody, "any group neither")]
    [InlineData(Nobody, 0u, "any user neither")]
    public async Task Client_TalksTo(uint user, uint group, string expected)
    {
        RequireRootAndTools();
        var path = Path.Combine(_folder, "server");
        const string script = """
            use IO::Socket::UNIX; $| = 1; my $l = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 100) or die "$!";
            print "ready\n"; my @kept; while (my $s = $l->accept) { push @kept, $s }
            """;
        using var child = Start(user, group, script, [path]);
        try
        {
            Assert.Equal("ready", await child.StandardOutput.ReadLineAsync().Within());
            var allowed = new List<string>();
            foreach (var (name, policy) in Policies)
            {
                try
                {
                    await using var client = await TtrpcClient.ConnectAsync(path, new TtrpcClientOptions { PeerPolicy = policy });
                    allowed.Add(name);
                }
                catch (UnauthorizedAccessException error)
                {
                    Assert.Contains($"process {child.Id} of user {user}, group {group}", error.Message, StringComparison.Ordinal);
                }
            }
            Assert.Equal(expected, string.Join(' ', allowed));
        }
        finally
        {
            child.Kill();
        }
    }

    [Fact]
    public async Task Client_OfAPolicy_RefusesWhoIsUnknown()
    {
        var (client, server) = ConnectionPair.Create();
        Assert.Throws<UnauthorizedAccessException>(() => new TtrpcClient(client, new TtrpcClientOptions { PeerPolicy = PeerPolicy.Any }));
        // The connection stays the caller's.
        await using var test = new TestServer();
        _ = test.Server.ServeAsync(server, default);
        await using var ttrpc = new TtrpcClient(client);
        Assert.Equal("x", (await new Echo.EchoClient(ttrpc).UnaryAsync(new EchoMessage { Text = "x" }).ResponseAsync.Within()).Text);
    }

    [Fact]
    public async Task Client_ARefusedServer_IsLeftWithoutAByte()
    {
        await using var source = UnixConnectionSource.Bind(Path.Combine(_folder, "s"));
        var connecting = TtrpcClient.ConnectAsync(source.Address, new TtrpcClientOptions { PeerPolicy = PeerPolicy.Match(4242, null) });
        await Assert.ThrowsAsync<UnauthorizedAccessException>(() => connecting.AsTask().Within());
        await using var peer = new RawPeer((await source.AcceptAsync(default))!);
        Assert.Null(await peer.TryReceive());
    }

    private void RequireRootAndTools()
    {
        Assert.SkipUnless(Environment.UserName == "root" && Environment.IsPrivilegedProcess, "only root can be somebody else");
        Assert.SkipUnless(File.Exists("/usr/bin/perl") && File.Exists("/usr/bin/setpriv"), "perl and setpriv are needed");
        File.SetUnixFileMode(_folder, (UnixFileMode)0x1FF);
    }

    private static Process Start(uint user, uint group, string script, string[] arguments) => Process.Start(
        new ProcessStartInfo("/usr/bin/setpriv", [$"--reuid={user}", $"--regid={group}", "--clear-groups", "perl", "-e", script, "--", .. arguments])
        {
            RedirectStandardOutput = true,
        })!;
}
