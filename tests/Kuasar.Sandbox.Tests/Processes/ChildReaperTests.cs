using System.Diagnostics;
using System.Globalization;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Processes;

public sealed class ChildReaperTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    private static int Spawn(string script) => Libc.Spawn(new SpawnRequest("/bin/sh", ["-c", script]));

    [Theory]
    [InlineData("exit 0", 0)]
    [InlineData("exit 1", 1)]
    [InlineData("exit 42", 42)]
    [InlineData("exit 127", 127)]
    [InlineData("exit 255", 255)]
    [InlineData("kill -9 $$", 128 + 9)]
    [InlineData("kill -15 $$", 128 + 15)]
    [InlineData("kill -11 $$", 128 + 11)]
    public async Task The_end_is_told_as_a_shell_tells_it(string script, uint code) =>
        Assert.Equal(code, (await _bed.Reaper.WatchAsync(Spawn(script)).InTime()).Code);

    [Fact]
    public async Task Two_hundred_children_at_once_have_each_their_own_code()
    {
        var exits = Enumerable.Range(0, 200).Select(i => _bed.Reaper.WatchAsync(Spawn($"exit {i}"))).ToArray();

        var codes = await Task.WhenAll(exits).InTime();

        Assert.Equal(Enumerable.Range(0, 200).Select(i => (uint)i), codes.Select(c => c.Code));
    }

    [Fact]
    public async Task A_child_that_was_dead_before_is_reaped()
    {
        var pid = Spawn("exit 7");
        await Within.Until(() => Procfs.IsZombie(pid));

        Assert.Equal(7u, (await _bed.Reaper.WatchAsync(pid).InTime()).Code);
        Assert.False(Directory.Exists($"/proc/{pid}"));
    }

    [Fact]
    public async Task A_pid_without_a_process_ended_unknown()
    {
        var pid = Spawn("exit 7");
        await _bed.Reaper.WatchAsync(pid).InTime();

        Assert.Equal(ExitStatus.UnknownCode, (await _bed.Reaper.WatchAsync(pid).InTime()).Code);
    }

    [Fact]
    public async Task The_end_of_a_process_that_is_no_child_is_seen_and_told_by_the_kernel()
    {
        Assert.SkipUnless(Environment.OSVersion.Version >= new Version(6, 15), "before Linux 6.15 the kernel tells only until the parent has reaped");
        // A grandchild: its parent lives, and reaps it.
        var (read, write) = Libc.Pipe();
        var (input, release) = Libc.Pipe();
        using var parent = _bed.Shell("sleep 1000 & echo $!; wait $!; read line", input, write);
        var grandchild = await ReadPidAsync(read);
        var watched = _bed.Reaper.WatchAsync(grandchild);
        Assert.False(watched.IsCompleted);

        Libc.Kill(grandchild, Libc.SIGKILL);

        Assert.Equal(137u, (await watched.InTime()).Code);
        foreach (var handle in new[] { read, write, input, release })
        {
            handle.Dispose();
        }
        await parent.Exited.InTime();
    }

    [Fact]
    public async Task Asked_twice_for_one_process_it_tells_both_the_same()
    {
        var (input, release) = Libc.Pipe();
        var pid = Libc.Spawn(new SpawnRequest("/bin/sh", ["-c", "read line; exit 5"]) { Handles = [input, null, null] });
        var first = _bed.Reaper.WatchAsync(pid);
        var second = _bed.Reaper.WatchAsync(pid);

        release.Dispose();

        Assert.Equal(5u, (await first.InTime()).Code);
        Assert.Equal(5u, (await second.InTime()).Code);
        input.Dispose();
    }

    [Fact]
    public async Task Orphans_are_swept_and_watched_ones_are_not()
    {
        // The shell leaves a child that ends: it falls to us, the subreaper.
        var (read, write) = Libc.Pipe();
        using var shell = _bed.Shell("sleep 1000 & echo $!", null, write);
        var orphan = await ReadPidAsync(read);
        await shell.Exited.InTime();
        Libc.Kill(orphan, Libc.SIGKILL);
        var late = Spawn("exit 9");
        await Within.Until(() => Procfs.IsZombie(orphan) && Procfs.IsZombie(late));

        _bed.Time.Advance(TimeSpan.FromSeconds(5));
        // One period dead is not enough.
        Assert.True(Procfs.IsZombie(orphan));
        Assert.Equal(9u, (await _bed.Reaper.WatchAsync(late).InTime()).Code);
        _bed.Time.Advance(TimeSpan.FromSeconds(5));

        Assert.False(Directory.Exists($"/proc/{orphan}"));
        read.Dispose();
        write.Dispose();
    }

    [Fact]
    public async Task The_frameworks_own_children_keep_their_exit_codes()
    {
        for (var i = 0; i < 10; i++)
        {
            using var process = Process.Start("/bin/sh", ["-c", "exit 33"]);
            var ours = _bed.Reaper.WatchAsync(Spawn("exit 44"));
            // One sweep: a second at once would be no period later, and .NET ends the process (FailFast) whose child another reaps.
            _bed.Time.Advance(TimeSpan.FromSeconds(5));
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).InTime();
            Assert.Equal(33, process.ExitCode);
            Assert.Equal(44u, (await ours.InTime()).Code);
        }
    }

    [Fact]
    public async Task Dispose_lets_go_of_the_living()
    {
        using var process = _bed.Shell("sleep 1000");
        _bed.Reaper.Dispose();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => process.Exited.InTime());
        using var pidfd = Libc.OpenProcess(process.ProcessId)!;
        Libc.SendSignal(pidfd, Libc.SIGKILL);
        await Within.Until(() => Libc.TryReap(pidfd) is not null);
    }

    private static async Task<int> ReadPidAsync(Microsoft.Win32.SafeHandles.SafeFileHandle handle)
    {
        var buffer = new byte[64];
        var count = await Task.Run(() => Libc.Read(handle, buffer)).InTime();
        return int.Parse(System.Text.Encoding.ASCII.GetString(buffer, 0, count), CultureInfo.InvariantCulture);
    }
}
