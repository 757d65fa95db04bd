using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Oci;

public sealed class OciSpecTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    private OciSpec Load(string json)
    {
        File.WriteAllText(_bed.PathOf("config.json"), json);
        return OciSpec.Load(_bed.Folder);
    }

    [Fact]
    public void One_that_is_missing_is_NotFound()
    {
        Assert.Equal(SandboxError.NotFound, Assert.Throws<SandboxException>(() => OciSpec.Load(_bed.Folder)).Error);
        Assert.Equal(SandboxError.NotFound, Assert.Throws<SandboxException>(() => OciSpec.Load(_bed.PathOf("missing"))).Error);
    }

    [Theory]
    [InlineData("")]
    [InlineData("not json")]
    [InlineData("{\"ociVersion\":")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"ociVersion":null}""")]
    [InlineData("""{"ociVersion":"1","ociVersion":"2"}""")]
    [InlineData("""{"ociVersion":"1","annotations":{"a":"1","a":"2"}}""")]
    public void What_is_no_spec_is_InvalidArgument(string json) =>
        Assert.Equal(SandboxError.InvalidArgument, Assert.Throws<SandboxException>(() => Load(json)).Error);

    [Fact]
    public void One_too_large_is_InvalidArgument()
    {
        using (var file = File.Create(_bed.PathOf("config.json")))
        {
            file.SetLength((16 << 20) + 1);
        }
        Assert.Equal(SandboxError.InvalidArgument, Assert.Throws<SandboxException>(() => OciSpec.Load(_bed.Folder)).Error);
    }

    [Fact]
    public void Annotations_are_text_or_nothing()
    {
        var spec = Load("""{"ociVersion":"1.0.2","annotations":{"a":"1","b":2}}""");

        Assert.Equal("1", spec.Annotation("a"));
        Assert.Null(spec.Annotation("b"));
        Assert.Null(spec.Annotation("c"));
        Assert.Null(Load("""{"ociVersion":"1"}""").Annotation("a"));
    }

    [Theory]
    [InlineData("""{"namespaces":[{"type":"mount"},{"type":"pid"}]}""", true)]
    [InlineData("""{"namespaces":[{"type":"pid","path":""}]}""", true)]
    [InlineData("""{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]}""", false)]
    [InlineData("""{"namespaces":[{"type":"mount"}]}""", false)]
    [InlineData("""{"namespaces":["pid",null,3,{}]}""", false)]
    [InlineData("""{"namespaces":{"type":"pid"}}""", false)]
    [InlineData("{}", false)]
    [InlineData("[]", false)]
    [InlineData("\"text\"", false)]
    [InlineData("null", false)]
    public void The_pid_namespace_is_own_shared_or_the_hosts(string linux, bool own)
    {
        var spec = Load($$"""{"ociVersion":"1","linux":{{linux}},"annotations":{{linux}}}""");

        Assert.Equal(own, spec.HasOwnPidNamespace);
        Assert.Null(spec.Annotation("a"));
    }

    [Fact]
    public void What_is_let_go_is_read_again_from_the_bundle()
    {
        var spec = Load("""{"ociVersion":"1","linux":{"namespaces":[{"type":"pid"}]}}""");
        spec.Release();
        File.WriteAllText(_bed.PathOf("config.json"), """{"ociVersion":"2"}""");

        Assert.Equal("2", (string?)spec.Json["ociVersion"]);
        Assert.True(spec.HasOwnPidNamespace);
        File.Delete(_bed.PathOf("config.json"));
        Assert.True(spec.HasOwnPidNamespace);
    }
}
