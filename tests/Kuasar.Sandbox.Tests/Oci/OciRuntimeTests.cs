using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Oci;

/// <summary>Against a shell script that plays the runtime.</summary>
public sealed class OciRuntimeTests : IAsyncLifetime
{
    private readonly Bed _bed = new();
    private ContainerSpec _spec = null!;

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(_bed.PathOf("work"));
        await File.WriteAllTextAsync(_bed.PathOf("config.json"), """{"ociVersion":"1.0.2"}""");
        _spec = new ContainerSpec
        {
            Id = "one",
            Bundle = _bed.Folder,
            WorkDirectory = _bed.PathOf("work"),
            Oci = OciSpec.Load(_bed.Folder),
            Stdio = await ProcessStdio.OpenAsync(_bed.Stdio, new StdioAddresses("", "", "", false), "ns/one", ("one", "ns")),
        };
    }

    public async ValueTask DisposeAsync()
    {
        await _spec.Stdio.DisposeAsync();
        _bed.Dispose();
    }

    /// <summary>The script notes its arguments, one call a line, and knows its log, its command and its pid file.</summary>
    private OciRuntime Runtime(string script) => new(
        new OciRuntimeOptions
        {
            Path = _bed.Script("runtime", $$"""
                echo "$*" >>{{_bed.PathOf("calls")}}
                while [ $# -gt 0 ]; do
                  case "$1" in
                    --log) log=$2; shift;;
                    --pid-file) pidfile=$2; shift;;
                    --force) force=$1;;
                    create|start|exec|pause|update|delete|features|--version) command=$1;;
                  esac
                  shift
                done
                {{script}}
                """),
            Root = _bed.PathOf("root"),
        },
        _bed.Services);

    private string[] Calls => File.ReadAllLines(_bed.PathOf("calls"));

    private void AssertNothingIsLeft(params string[] files) =>
        Assert.Equal(files, Directory.GetFiles(_bed.PathOf("work")).Select(Path.GetFileName).Order());

    [Fact]
    public async Task Create_adopts_the_init_that_the_pid_file_names()
    {
        // It is the runtime's child, and falls to us when the runtime ends.
        var runtime = Runtime("sleep 1000 </dev/null >/dev/null 2>&1 & printf $! >$pidfile");

        using var init = await runtime.CreateAsync(_spec, CancellationToken.None).InTime();

        await Within.Until(() => File.ReadAllText($"/proc/{init.ProcessId}/comm") == "sleep\n", "the process");
        init.Signal(Libc.SIGTERM);
        Assert.Equal(128u + 15, (await init.Exited.InTime()).Code);
        Assert.Matches($"^--root {_bed.PathOf("root")} --log [^ ]+ --log-format json create --bundle {_bed.Folder} --pid-file [^ ]+ one$", Calls[0]);
        AssertNothingIsLeft("init.pid");
    }

    [Fact]
    public async Task A_failure_is_told_by_the_log_or_else_by_the_exit_code()
    {
        var logged = Runtime("""echo '{"level":"error","msg":"container does not exist"}' >$log; exit 1""");
        var error = await Within.Fails(SandboxError.NotFound, () => logged.StartAsync(_spec, CancellationToken.None));
        Assert.Equal("runtime start failed: container does not exist", error.Message);
        await logged.DeleteAsync(_spec, CancellationToken.None).InTime();

        var silent = Runtime("exit 42");
        error = await Within.Fails(SandboxError.Unknown, () => silent.PauseAsync(_spec, CancellationToken.None));
        Assert.Contains("exit code 42", error.Message, StringComparison.Ordinal);
        await Within.Fails(SandboxError.Unknown, () => silent.GetFeaturesAsync(CancellationToken.None));

        var killed = Runtime("kill -9 $$");
        Assert.Contains("exit code 137", (await Within.Fails(SandboxError.Unknown, () => killed.StartAsync(_spec, CancellationToken.None))).Message, StringComparison.Ordinal);
        AssertNothingIsLeft();
    }

    [Fact]
    public async Task A_delete_that_is_refused_is_made_again_by_force()
    {
        var runtime = Runtime("""[ -n "$force" ] && exit; echo '{"level":"error","msg":"container is not stopped"}' >$log; exit 1""");

        await runtime.DeleteAsync(_spec, CancellationToken.None).InTime();

        Assert.EndsWith("delete one", Calls[0], StringComparison.Ordinal);
        Assert.EndsWith("delete --force one", Calls[1], StringComparison.Ordinal);
        AssertNothingIsLeft();
    }

    [Fact]
    public async Task A_create_that_fails_by_itself_is_not_followed_by_a_delete()
    {
        // The id may be another's.
        var runtime = Runtime("""echo '{"level":"error","msg":"container with given ID already exists"}' >$log; exit 1""");

        await Within.Fails(SandboxError.AlreadyExists, () => runtime.CreateAsync(_spec, CancellationToken.None));

        Assert.Single(Calls);
    }

    [Theory]
    [InlineData(":")]
    [InlineData("printf 0 >$pidfile")]
    [InlineData("printf 4194999 >$pidfile")]
    [InlineData("echo no pid >$pidfile")]
    public async Task A_create_whose_init_is_not_to_be_found_is_undone(string script)
    {
        var runtime = Runtime($"case $command in create) {script};; esac");

        await Assert.ThrowsAsync<SandboxException>(() => runtime.CreateAsync(_spec, CancellationToken.None).InTime());

        Assert.Equal(2, Calls.Length);
        Assert.EndsWith("delete one", Calls[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_command_that_takes_too_long_is_killed_and_a_create_undone()
    {
        var runtime = Runtime($"case $command in create) echo $$ >{_bed.PathOf("pid")}.tmp; mv {_bed.PathOf("pid")}.tmp {_bed.PathOf("pid")}; exec sleep 1000;; esac");
        var creating = runtime.CreateAsync(_spec, CancellationToken.None);
        await Within.Until(() => File.Exists(_bed.PathOf("pid")) && _bed.Time.IsArmed(TimeSpan.FromMinutes(2)), "the limit");
        var pid = (await File.ReadAllTextAsync(_bed.PathOf("pid"), TestContext.Current.CancellationToken)).Trim();

        _bed.Time.Advance(TimeSpan.FromMinutes(2));

        await Within.Fails(SandboxError.DeadlineExceeded, () => creating);
        await Within.Until(() => !Directory.Exists($"/proc/{pid}"), "its end");
        Assert.EndsWith("delete one", Calls[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_question_that_is_not_answered_is_given_up()
    {
        var runtime = Runtime("exec sleep 1000");
        var asking = runtime.GetVersionAsync(CancellationToken.None);
        await Within.Until(() => _bed.Time.IsArmed(TimeSpan.FromMinutes(2)), "the limit");

        _bed.Time.Advance(TimeSpan.FromMinutes(2));

        await Within.Fails(SandboxError.DeadlineExceeded, () => asking);
    }

    [Fact]
    public async Task Answers_longer_than_a_pipe_come_whole()
    {
        var runtime = Runtime("head -c 300000 /dev/zero");

        Assert.Equal(300000, (await runtime.GetFeaturesAsync(CancellationToken.None).InTime()).Length);
    }

    [Fact]
    public async Task An_exec_gets_its_process_file_and_leaves_no_file()
    {
        var runtime = Runtime($"set -- $(tail -1 {_bed.PathOf("calls")}); while [ $1 != --process ]; do shift; done; cp $2 {_bed.PathOf("copy")}; sleep 1000 </dev/null >/dev/null 2>&1 & printf $! >$pidfile");
        var exec = new ExecSpec { Id = "e", Process = "{\"args\":[]}"u8.ToArray(), WorkDirectory = _spec.WorkDirectory, Stdio = _spec.Stdio };

        using var process = await runtime.ExecAsync(_spec, exec, CancellationToken.None).InTime();

        process.Signal(Libc.SIGKILL);
        await process.Exited.InTime();
        Assert.Equal("{\"args\":[]}", await File.ReadAllTextAsync(_bed.PathOf("copy"), TestContext.Current.CancellationToken));
        // A later life finds the process by it.
        AssertNothingIsLeft("exec.e.pid");
        process.Dispose();
        AssertNothingIsLeft();
    }

    [Fact]
    public void A_binary_that_is_not_there_is_NotFound()
    {
        foreach (var path in new[] { "/no/such/runtime", "no-such-runtime" })
        {
            Assert.Equal(SandboxError.NotFound, Assert.Throws<SandboxException>(
                () => new OciRuntime(new OciRuntimeOptions { Path = path, Root = _bed.PathOf("root") }, _bed.Services)).Error);
        }
        Assert.True(Path.IsPathRooted(new OciRuntime(new OciRuntimeOptions { Path = "sh", Root = _bed.PathOf("root") }, _bed.Services).Path));
    }
}
