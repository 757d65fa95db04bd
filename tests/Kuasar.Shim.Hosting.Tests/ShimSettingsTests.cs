using System.Text;
using Kuasar.Shim.Hosting.Internal;

namespace Kuasar.Shim.Hosting.Tests;

public class ShimSettingsTests
{
    private static ShimOptions Options(string name = "io.containerd.kuasar-runc.v1", string sandboxer = "runc", string? run = null, string? path = null) =>
        new() { Name = name, Version = "1", Sandboxer = sandboxer, RunDirectory = run, SandboxerPath = path, SandboxerArguments = ["-x"] };

    private static ShimSettings Load(string content, ShimOptions? options = null) =>
        ShimSettings.Load(options ?? Options(), "f.conf", Encoding.UTF8.GetBytes(content));

    [Fact]
    public void Load_NoFile_Defaults()
    {
        var settings = Load("");

        Assert.Equal("/run/kuasar/runc/control.sock", settings.Paths.ControlSocket);
        Assert.Null(settings.SandboxerPath);
    }

    [Fact]
    public void Load_File_ComesBeforeOptions()
    {
        var settings = Load(
            "# here\r\n\n run-dir = /run/other \nsandboxer=/opt/s\nsandboxer-args=--a  b=c",
            Options(run: "/run/mine", path: "/opt/mine"));

        Assert.Equal("/run/other", settings.Paths.Run);
        Assert.Equal("/opt/s", settings.SandboxerPath);
        Assert.Equal(["--a", "b=c"], settings.SandboxerArguments);
    }

    [Theory]
    [InlineData("run-dir=/x\nrundir=/run/x", "f.conf, line 2: unknown key \"rundir\"")]
    [InlineData("what", "f.conf, line 1: not key=value")]
    [InlineData("run-dir=x", "f.conf: run-dir: \"x\" is not an absolute path")]
    [InlineData("sandboxer=", "f.conf: sandboxer: \"\" is not an absolute path")]
    public void Load_BadFile_NamesWhatIsWrong(string content, string message) =>
        Assert.Equal(message, Assert.Throws<ShimException>(() => Load(content)).Message);

    [Fact]
    public void Load_PathTooLongForASocket_Refused() =>
        Assert.Contains("too long for a socket", Assert.Throws<ShimException>(() => Load("run-dir=/" + new string('a', 100))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("runc", "runc")]
    [InlineData("io.containerd..v1", "runc")]
    [InlineData("io.containerd.kuasar-runc.", "runc")]
    [InlineData("io.containerd.kuasar-runc.v1", "../x")]
    [InlineData("io.containerd.kuasar-runc.v1", "")]
    public void Run_BadOptions_Throw(string name, string sandboxer) =>
        Assert.Throws<ArgumentException>(() => ShimHost.Run(["-v"], Options(name, sandboxer)));

    [Fact]
    public void Run_DeleteTimeoutsBeyondWhatContainerdWaits_Throw() => Assert.Throws<ArgumentException>(() =>
        ShimHost.Run(["-v"], new ShimOptions { Name = "io.containerd.x.v1", Version = "1", Sandboxer = "x", RemoveTimeout = TimeSpan.FromSeconds(4) }));

    [Fact]
    public void ShortName_IsTheNameWithoutItsVersion() => Assert.Equal("kuasar-runc", Options().ShortName);
}
