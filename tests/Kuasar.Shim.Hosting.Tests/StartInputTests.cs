using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Bootstrap;
using Kuasar.Shim.Hosting.Internal;

namespace Kuasar.Shim.Hosting.Tests;

public class StartInputTests
{
    private static readonly Any Options = new() { TypeUrl = "runtimeoptions.v1.Options", Value = ByteString.CopyFromUtf8("\x1a\x05hello") };

    [Fact]
    public void Parse_Empty_NoOptions()
    {
        var input = StartInput.Parse([], "k8s.io", "a");

        Assert.Null(input.Bootstrap);
        Assert.Null(input.Options);
    }

    [Fact]
    public void Parse_Any_IsOptions()
    {
        var input = StartInput.Parse(Options.ToByteArray(), "k8s.io", "a");

        Assert.Null(input.Bootstrap);
        Assert.Equal(Options, input.Options);
    }

    [Fact]
    public void Parse_BootstrapParams_WithNegativeLogLevelAndOptions()
    {
        var bootstrap = Bootstrap("a", "k8s.io");
        bootstrap.Extensions.Add(new Protocol.Contracts.Bootstrap.Extension { Value = Options });

        var input = StartInput.Parse(bootstrap.ToByteArray(), "k8s.io", "a");

        Assert.Equal(bootstrap, input.Bootstrap);
        Assert.Equal(Options, input.Options);
    }

    [Fact]
    public void Parse_BootstrapParamsWithoutExtensions_NoOptions()
    {
        var input = StartInput.Parse(Bootstrap("a", "k8s.io").ToByteArray(), "k8s.io", "a");

        Assert.NotNull(input.Bootstrap);
        Assert.Null(input.Options);
    }

    [Theory]
    [InlineData("b", "k8s.io")]
    [InlineData("a", "default")]
    public void Parse_BootstrapParamsOfAnother_IsNotTheNewProtocol(string id, string containerdNamespace)
    {
        Assert.Null(StartInput.Parse(Bootstrap(id, containerdNamespace).ToByteArray(), "k8s.io", "a").Bootstrap);
    }

    [Fact]
    public void Parse_AnyWhoseUrlIsTheId_IsOptions()
    {
        var any = new Any { TypeUrl = "a", Value = ByteString.CopyFromUtf8("other") };

        Assert.Equal(any, StartInput.Parse(any.ToByteArray(), "k8s.io", "a").Options);
    }

    [Theory]
    [InlineData("ff")]
    [InlineData("0aff01")]
    [InlineData("0b")]
    [InlineData("0a0161")]
    [InlineData("ffffffffffffffffffffff")]
    public void Parse_AnyBytes_OnlyTheOneException(string hex)
    {
        try
        {
            StartInput.Parse(Convert.FromHexString(hex), "k8s.io", "a");
        }
        catch (ShimException)
        {
        }
    }

    private static BootstrapParams Bootstrap(string id, string containerdNamespace) => new()
    {
        InstanceId = id,
        Namespace = containerdNamespace,
        LogLevel = LogLevel.Debug,
        ContainerdVersion = "2.3.1",
        ContainerdGrpcAddress = "/run/containerd/containerd.sock",
        ContainerdTtrpcAddress = "/run/containerd/containerd.sock.ttrpc",
        ContainerdBinary = "/usr/bin/containerd",
    };
}
