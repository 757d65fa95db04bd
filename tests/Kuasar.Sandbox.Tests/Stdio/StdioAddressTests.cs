using Kuasar.Sandbox.Stdio;

namespace Kuasar.Sandbox.Tests.Stdio;

public sealed class StdioAddressTests
{
    [Theory]
    [InlineData("", "None", "")]
    [InlineData("/run/fifo/x", "Fifo", "/run/fifo/x")]
    [InlineData("/with space/ä", "Fifo", "/with space/ä")]
    [InlineData("fifo:///run/x", "Fifo", "/run/x")]
    [InlineData("file:///var/log/a%20b.log", "File", "/var/log/a b.log")]
    [InlineData("binary:///usr/bin/logger", "LogBinary", "/usr/bin/logger")]
    [InlineData("binary:///usr/bin/logger?a=1&b=two%20words&c+d=&flag", "LogBinary", "/usr/bin/logger", "a", "1", "b", "two words", "c d", "flag")]
    public void Good_ones(string text, string scheme, string path, params string[] arguments)
    {
        var address = StdioAddress.Parse(text);

        Assert.Equal(scheme, address.Scheme.ToString());
        Assert.Equal(path, address.Path);
        Assert.Equal(arguments, address.Arguments);
    }

    [Theory]
    [InlineData("relative/path")]
    [InlineData("nul\0inside")]
    [InlineData("/nul\0inside")]
    [InlineData("file:///nul%00inside")]
    [InlineData("file://host/path")]
    [InlineData("fifo://relative")]
    [InlineData("http:///path")]
    [InlineData("npipe:////./pipe/x")]
    [InlineData("://")]
    [InlineData("file://")]
    [InlineData("file:///")]
    [InlineData("file:///folder/")]
    public void Bad_ones(string text) =>
        Assert.Equal(SandboxError.InvalidArgument, Assert.Throws<SandboxException>(() => StdioAddress.Parse(text)).Error);
}
