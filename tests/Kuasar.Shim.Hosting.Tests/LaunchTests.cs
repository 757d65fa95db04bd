namespace Kuasar.Shim.Hosting.Tests;

public sealed class LaunchTests : IDisposable
{
    private readonly ShimUnderTest _shim = new();

    public LaunchTests() => Configure("serve");

    public void Dispose() => _shim.Dispose();

    private void Configure(string mode) =>
        _shim.Configure($"sandboxer={Environment.ProcessPath}\nsandboxer-args={FakeSandboxer.ProgramArgument} {_shim.Paths.Run} {mode}");

    private string Read(string file) => File.ReadAllText(Path.Combine(_shim.Paths.Run, file));

    [Fact]
    public async Task Start_ManyAtOnce_OneSandboxer()
    {
        var results = await Task.WhenAll(Enumerable.Range(0, 4).Select(i => Task.Run(() => _shim.Start($"a{i}"))));

        // That they end at all says that the sandboxer holds none of their pipes.
        Assert.All(results, result => Assert.Equal((0, ""), (result.ExitCode, result.Error)));
        Assert.All(results, result => Assert.Contains(FakeSandboxer.Address, result.Text, StringComparison.Ordinal));
        var pid = Assert.Single(Read("starts").TrimEnd().Split('\n'));

        var log = Path.Combine(_shim.Paths.Run, "sandboxer.log");
        Assert.Equal(["/dev/null", log, log], Read("fds").TrimEnd().Split('\n'));
        Assert.Equal("the fake sandboxer starts\n", File.ReadAllText(log));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(log));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(_shim.Paths.Run));
        Assert.DoesNotContain("TTRPC_ADDRESS", Read("environment"), StringComparison.Ordinal);
        // Session leader: pid, command, state, parent, group, session.
        Assert.Equal(pid, File.ReadAllText($"/proc/{pid}/stat").Split(") ")[1].Split(' ')[3]);
    }

    [Fact]
    public void Start_SandboxerThatDies_SaysSo()
    {
        Configure("die");

        var result = _shim.Start("a");

        Assert.Equal((1, ""), (result.ExitCode, result.Text));
        Assert.Contains("ended with status 7 before it listened", result.Error, StringComparison.Ordinal);
        Assert.Equal(1, result.Error.Count(c => c == '\n'));
    }

    [Fact]
    public void Start_SandboxerMissing_SaysSo()
    {
        _shim.Configure("sandboxer=/nowhere/at-all");

        var result = _shim.Start("a");

        Assert.Equal((1, "", "kuasar-runc: start /nowhere/at-all: No such file or directory\n"), (result.ExitCode, result.Text, result.Error));
    }

    [Fact]
    public void Delete_NeverStartsOne()
    {
        var result = _shim.Delete("a");

        Assert.Equal(0, result.ExitCode);
        Assert.False(Directory.Exists(_shim.Paths.Run));
    }
}
