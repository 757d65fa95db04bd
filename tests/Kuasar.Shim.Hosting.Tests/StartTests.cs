using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Bootstrap;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.Shim.Hosting.Tests;

public sealed class StartTests : IDisposable
{
    private const string Json = $$"""{"version":3,"address":"{{FakeSandboxer.Address}}","protocol":"ttrpc"}""";

    private readonly ShimUnderTest _shim = new();

    public void Dispose() => _shim.Dispose();

    private FakeSandboxer Sandboxer(List<ResolveRequest> seen, uint version = 3) => new(_shim.Paths.ControlSocket, (method, payload) =>
    {
        Assert.Equal("Resolve", method);
        seen.Add(ResolveRequest.Parser.ParseFrom(payload));
        return FakeSandboxer.Resolve(version);
    });

    [Fact]
    public void Start_OldForm_OneJsonAndNothingElse()
    {
        var seen = new List<ResolveRequest>();
        using var sandboxer = Sandboxer(seen);
        var options = new Any { TypeUrl = "runtimeoptions.v1.Options", Value = ByteString.CopyFromUtf8("x") };

        var result = _shim.Start("a", options.ToByteArray());

        Assert.Equal((0, Json, ""), (result.ExitCode, result.Text, result.Error));
        Assert.Equal(new ResolveRequest
        {
            Containerd = new ContainerdInstance
            {
                GrpcAddress = ShimUnderTest.Containerd,
                TtrpcAddress = ShimUnderTest.Containerd + ".ttrpc",
                Binary = "/usr/bin/containerd",
            },
            Namespace = "k8s.io",
            Id = "a",
            Bundle = _shim.Bundle("a"),
            Options = options,
        }, Assert.Single(seen));
        Assert.Equal(["rootfs"], Directory.GetFileSystemEntries(_shim.Bundle("a")).Select(Path.GetFileName));
    }

    [Fact]
    public void Start_BootstrapParams_AreUsed()
    {
        var seen = new List<ResolveRequest>();
        using var sandboxer = Sandboxer(seen);
        var bootstrap = new BootstrapParams
        {
            InstanceId = "a",
            Namespace = "k8s.io",
            LogLevel = LogLevel.Trace,
            ContainerdVersion = "2.3.1",
            ContainerdTtrpcAddress = "/other.ttrpc",
        };

        var result = _shim.Start("a", bootstrap.ToByteArray());

        Assert.Equal((0, Json, ""), (result.ExitCode, result.Text, result.Error));
        var request = Assert.Single(seen);
        Assert.True(request.Debug);
        Assert.Equal("2.3.1", request.Containerd.Version);
        Assert.Equal("/other.ttrpc", request.Containerd.TtrpcAddress);
        Assert.Equal(ShimUnderTest.Containerd, request.Containerd.GrpcAddress);
    }

    /// <summary>containerd 2.3 takes an answer that parses as a protobuf result for one; every version takes JSON that does not.</summary>
    [Fact]
    public void Start_Answer_IsNoProtobufResult()
    {
        using var sandboxer = Sandboxer([]);

        var result = _shim.Start("a");

        Assert.Equal(Json, result.Text);
        Assert.Throws<InvalidProtocolBufferException>(() => BootstrapResult.Parser.ParseFrom(result.Output));
    }

    [Fact]
    public void Start_Version2_WritesTheAddressFile()
    {
        using var sandboxer = Sandboxer([], version: 2);

        var result = _shim.Start("a");

        Assert.Equal(Json.Replace("3", "2", StringComparison.Ordinal)[..12], result.Text[..12]);
        Assert.Equal(result.Text, File.ReadAllText(Path.Combine(_shim.Bundle("a"), "address")));
    }

    [Theory]
    [InlineData("exec \"$@\" </dev/null")]
    [InlineData("mkdir gone && cd gone && rmdir ../gone && exec \"$@\" </dev/null")]
    public void Start_NoInputOrNoFolder_Works(string shell)
    {
        var seen = new List<ResolveRequest>();
        using var sandboxer = Sandboxer(seen);

        var result = _shim.Run(ShimUnderTest.Arguments("a", "start"), shell: shell);

        Assert.Equal((0, Json, ""), (result.ExitCode, result.Text, result.Error));
        Assert.Null(Assert.Single(seen).Options);
        Assert.Equal(shell.Contains("gone", StringComparison.Ordinal), seen[0].Bundle.Length == 0);
    }

    [Fact]
    public void Start_NoSandboxer_OneLine()
    {
        var result = _shim.Start("a");

        Assert.Equal(1, result.ExitCode);
        Assert.Empty(result.Output);
        Assert.Equal($"kuasar-runc: the sandboxer of domain runc does not answer on {_shim.Paths.ControlSocket}: no such file or directory; is kuasar-runc-sandboxer running?\n", result.Error);
    }

    [Fact]
    public void Start_DeadSocket_OneLine()
    {
        Directory.CreateDirectory(_shim.Paths.Run);
        using (var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, 0))
        {
            socket.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(_shim.Paths.ControlSocket + "2"));
            // .NET unlinks what it bound.
            File.CreateSymbolicLink(_shim.Paths.ControlSocket, _shim.Paths.ControlSocket + "2");

            var result = _shim.Start("a");

            Assert.Equal((1, ""), (result.ExitCode, result.Text));
            Assert.Contains("control.sock: connection refused; is kuasar-runc-sandboxer running?\n", result.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Start_SandboxerRefuses_OneLine()
    {
        using var sandboxer = new FakeSandboxer(_shim.Paths.ControlSocket, (_, _) => FakeSandboxer.Error(9, "no\nroom"));

        var result = _shim.Start("a");

        Assert.Equal((1, "", "kuasar-runc: the sandboxer refuses Resolve: no room\n"), (result.ExitCode, result.Text, result.Error));
    }

    [Theory]
    [InlineData("-namespace k8s.io -address /s -id ../a start", 2, "kuasar-runc: flag -id: \"../a\" is not an identifier")]
    [InlineData("-what", 2, "kuasar-runc: flag provided but not defined: -what")]
    [InlineData("-namespace k8s.io -id a start", 2, "kuasar-runc: flag -address is missing")]
    public void Run_BadCommandLine_OneLine(string line, int code, string error)
    {
        var result = _shim.Run(line.Split(' '));

        Assert.Equal((code, ""), (result.ExitCode, result.Text));
        Assert.StartsWith(error, result.Error, StringComparison.Ordinal);
        Assert.Equal(1, result.Error.Count(c => c == '\n'));
    }

    [Fact]
    public void Run_BadConfiguration_OneLine()
    {
        _shim.Configure("sandboxr=/x");

        var result = _shim.Start("a");

        Assert.Equal((1, "", $"kuasar-runc: {_shim.Binary}.conf, line 2: unknown key \"sandboxr\"\n"), (result.ExitCode, result.Text, result.Error));
    }

    [Fact]
    public void Info_IsTheBytesOfRuntimeInfo()
    {
        var info = new RuntimeInfo { Name = "io.containerd.kuasar-runc.v1" };
        using var sandboxer = new FakeSandboxer(_shim.Paths.ControlSocket, (method, payload) =>
        {
            Assert.Equal("Info", method);
            Assert.Equal("u", InfoRequest.Parser.ParseFrom(payload).Options.TypeUrl);
            return FakeSandboxer.Payload(new InfoResponse { Info = Kuasar.Protocol.TypeUrl.Pack(info) });
        });

        var result = _shim.Run(["-info"], new Any { TypeUrl = "u" }.ToByteArray());

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Equal(info, RuntimeInfo.Parser.ParseFrom(result.Output));
    }

    [Fact]
    public void Version_NeedsNothing()
    {
        var result = _shim.Run(["-v"]);

        Assert.Equal((0, "io.containerd.kuasar-runc.v1 0.1.0\n"), (result.ExitCode, result.Text));
    }
}
