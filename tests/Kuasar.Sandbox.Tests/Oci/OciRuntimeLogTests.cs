using Kuasar.Sandbox.Oci;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Oci;

public sealed class OciRuntimeLogTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    private string? ErrorOf(string log)
    {
        File.WriteAllText(_bed.PathOf("log"), log);
        return OciRuntimeLog.LastError(_bed.PathOf("log"));
    }

    [Fact]
    public void Runcs_last_error_counts_and_its_warnings_do_not() =>
        Assert.Equal("exec: \"nope\": not found", ErrorOf("""
            {"level":"warning","msg":"a warning","time":"2026-01-01T00:00:00Z"}
            {"level":"error","msg":"first","time":"2026-01-01T00:00:00Z"}
            {"level":"error","msg":"exec: \"nope\": not found","time":"2026-01-01T00:00:00Z"}
            {"level":"info","msg":"after","time":"2026-01-01T00:00:00Z"}
            """));

    [Fact]
    public void Crun_has_its_members_in_another_order() =>
        Assert.Equal("executable file `nope` not found in $PATH: No such file or directory", ErrorOf(
            """{"msg": "executable file `nope` not found in $PATH: No such file or directory", "level": "error", "time": "2026-01-01T00:00:00.123Z"}"""));

    [Theory]
    [InlineData("")]
    [InlineData("\n\n")]
    [InlineData("plain text")]
    [InlineData("[1]\n\"x\"\nnull\n{}")]
    [InlineData("""{"level":"error"}""")]
    [InlineData("""{"level":3,"msg":"x"}""")]
    [InlineData("""{"level":"error","msg":3}""")]
    [InlineData("""{"level":"error","msg":"cut o""")]
    public void Garbage_is_no_error(string log) => Assert.Null(ErrorOf(log));

    [Fact]
    public void An_entry_counts_also_between_garbage_and_fatal_is_an_error() =>
        Assert.Equal("here", ErrorOf("garbage\n{\"level\":\"fatal\",\"msg\":\"here\"}\n{\"level\":"));

    [Fact]
    public void No_log_and_one_too_large_have_no_error()
    {
        Assert.Null(OciRuntimeLog.LastError(_bed.PathOf("missing")));
        Assert.Null(OciRuntimeLog.LastError(_bed.PathOf("missing/folder")));
        Assert.Null(ErrorOf("""{"level":"error","msg":"x"}""" + new string(' ', 1 << 20)));
    }

    [Theory]
    [InlineData(null, SandboxError.Unknown)]
    [InlineData("anything else", SandboxError.Unknown)]
    [InlineData("container does not exist", SandboxError.NotFound)]
    [InlineData("os: process already finished", SandboxError.NotFound)]
    [InlineData("kill container: No such process", SandboxError.NotFound)]
    [InlineData("container with given ID already exists", SandboxError.AlreadyExists)]
    public void The_message_gives_the_kind(string? message, SandboxError kind)
    {
        var error = OciRuntimeLog.ToException("runc create", 3, message);

        Assert.Equal(kind, error.Error);
        Assert.Contains(message ?? "exit code 3", error.Message, StringComparison.Ordinal);
    }
}
