namespace Kuasar.Vmm.Agent.Tests.Vsock;

public sealed class EndPointTests
{
    [Theory]
    [InlineData("vsock://3:1024", "vsock://3:1024")]
    [InlineData("hvsock:///run/k/task.vsock:1024", "hvsock:///run/k/task.vsock:1024")]
    [InlineData("ttrpc+hvsock:///run/k/task.vsock:1024?streaming_id=c1-stdout", "hvsock:///run/k/task.vsock:1024")]
    [InlineData("hvsock:///odd:name:7", "hvsock:///odd:name:7")]
    [InlineData("vsock://4294967295:4294967295", "vsock://4294967295:4294967295")]
    public void Addresses_are_read_and_shown(string text, string shown) => Assert.Equal(shown, VsockEndPoint.Parse(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData("vsock://3")]
    [InlineData("vsock://:1024")]
    [InlineData("vsock://-1:1024")]
    [InlineData("vsock://3:+1024")]
    [InlineData("vsock://4294967296:1")]
    [InlineData("hvsock://relative:1024")]
    [InlineData("hvsock://:1024")]
    [InlineData("unix:///run/x.sock:3")]
    public void Other_text_is_refused(string text) => Assert.Throws<FormatException>(() => VsockEndPoint.Parse(text));

    [Theory]
    [InlineData("relative")]
    [InlineData("/with\0zero")]
    [InlineData("")]
    public void A_hybrid_path_is_absolute(string path) => Assert.Throws<ArgumentException>(() => VsockEndPoint.Hybrid(path, 1));

    [Fact]
    public void Endpoints_are_equal_by_value_and_differ_by_port()
    {
        Assert.Equal(VsockEndPoint.Native(3, 1), VsockEndPoint.Parse("vsock://3:1"));
        Assert.Equal(VsockEndPoint.Hybrid("/x", 2), VsockEndPoint.Hybrid("/x", 1).WithPort(2));
        Assert.NotEqual(VsockEndPoint.Hybrid("/x", 2), VsockEndPoint.Hybrid("/x", 1));
    }
}
