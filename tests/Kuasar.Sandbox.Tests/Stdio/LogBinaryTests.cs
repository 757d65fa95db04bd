using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Stdio;

public sealed class LogBinaryTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    private Task<ProcessStdio> OpenAsync(string stdout) =>
        ProcessStdio.OpenAsync(_bed.Stdio, new StdioAddresses("", stdout, stdout, false), "ns/one", ("one", "ns"));

    [Fact]
    public async Task The_program_gets_the_container_the_arguments_and_the_streams()
    {
        var log = _bed.PathOf("log");
        // cat ends at the end of the process's output: only then is the log complete.
        var logger = _bed.Script("logger", $"exec >{log}.tmp; echo $CONTAINER_ID $CONTAINER_NAMESPACE $#: $*; env | wc -l; exec 5>&-; cat <&3; cat <&4; mv {log}.tmp {log}");
        await using var stdio = await OpenAsync($"binary://{logger}?level=info&name=a%20b").InTime();
        using var process = _bed.Shell("echo to out; echo to err >&2", null, stdio.Stdout, stdio.Stderr);
        await stdio.AttachAsync(false, process.Exited, CancellationToken.None);
        await process.Exited.InTime();

        await Within.Until(() => File.Exists(log), "the log");
        var lines = await File.ReadAllLinesAsync(log, TestContext.Current.CancellationToken);
        Assert.Equal("one ns 4: level info name a b", lines[0]);
        // PWD is the shell's own doing.
        Assert.Equal(3, int.Parse(lines[1], System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal(["to out", "to err"], lines[2..]);
    }

    [Fact]
    public async Task One_that_is_never_ready_is_given_up_after_the_limit_and_ended()
    {
        var pidFile = _bed.PathOf("pid");
        var logger = _bed.Script("logger", $"trap '' TERM; echo $$ >{pidFile}.tmp; mv {pidFile}.tmp {pidFile}; while true; do sleep 1000; done");
        var opening = OpenAsync($"binary://{logger}");
        await Within.Until(() => File.Exists(pidFile) && _bed.Time.IsArmed(TimeSpan.FromSeconds(10)), "the logger's start");
        var pid = int.Parse(await File.ReadAllTextAsync(pidFile, TestContext.Current.CancellationToken), System.Globalization.CultureInfo.InvariantCulture);
        Assert.False(opening.IsCompleted);

        _bed.Time.Advance(TimeSpan.FromSeconds(10));
        await Within.Fails(SandboxError.DeadlineExceeded, () => opening);

        // It does not end by itself, nor by SIGTERM.
        await Within.Until(() => _bed.Time.IsArmed(TimeSpan.FromSeconds(1)), "the wait for its own end");
        _bed.Time.Advance(TimeSpan.FromSeconds(1));
        await Within.Until(() => _bed.Time.IsArmed(TimeSpan.FromSeconds(12)), "the wait after SIGTERM");
        Assert.True(Directory.Exists($"/proc/{pid}"));
        _bed.Time.Advance(TimeSpan.FromSeconds(12));
        await Within.Until(() => !Directory.Exists($"/proc/{pid}"), "its end");
    }

    [Fact]
    public async Task One_that_is_not_there_is_NotFound_and_leaves_nothing_open()
    {
        await Within.Fails(SandboxError.NotFound, () => OpenAsync("binary:///no/such/logger"));
        var before = Bed.DescriptorsBefore();

        await Within.Fails(SandboxError.NotFound, () => OpenAsync("binary:///no/such/logger"));

        Assert.Equal(before, Bed.OpenDescriptors);
    }
}
