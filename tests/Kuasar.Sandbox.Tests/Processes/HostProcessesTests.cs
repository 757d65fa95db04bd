using Kuasar.Linux;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Processes;

public sealed class HostProcessesTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    [Fact]
    public async Task The_child_has_the_handles_it_is_given_at_their_numbers()
    {
        var pipes = Enumerable.Range(0, 6).Select(_ => Libc.Pipe()).ToArray();
        // In reverse order, so that the numbers overlap with the targets as badly as they can.
        using var process = _bed.Processes.Start(new SpawnRequest("/bin/sh", ["-c", "read a; for i in 1 2 3 4 5; do eval \"echo $a$i >&$i\"; done"])
        {
            Handles = [pipes[0].Read, pipes[5].Write, pipes[4].Write, pipes[3].Write, pipes[2].Write, pipes[1].Write],
        });
        Libc.Write(pipes[0].Write, "n\n"u8);
        Assert.Equal(0u, (await process.Exited.InTime()).Code);

        for (var i = 1; i <= 5; i++)
        {
            pipes[i].Write.Dispose();
            Assert.Equal($"n{6 - i}\n", System.Text.Encoding.UTF8.GetString(Libc.ReadToEnd(pipes[i].Read, 100, "pipe")));
        }
        foreach (var (read, write) in pipes)
        {
            read.Dispose();
            write.Dispose();
        }
    }

    [Fact]
    public async Task The_child_inherits_no_fd_but_those()
    {
        // Without exec the list would hold the shell's too. ls has the folder itself open.
        var listed = await Bed.OutputOf(output => _bed.Processes.Start("/bin/ls", ["/proc/self/fd"], stdout: output));

        Assert.Equal(["0", "1", "2", "3"], listed.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task The_child_has_no_signal_blocked_or_ignored()
    {
        var status = await Bed.OutputOf(output => _bed.Processes.Start("/bin/cat", ["/proc/self/status"], stdout: output));

        // SIGPIPE, which .NET ignores, is one of SigIgn.
        foreach (var field in new[] { "SigBlk", "SigIgn" })
        {
            Assert.Contains($"{field}:\t0000000000000000\n", status, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_child_begins_in_the_folder_and_in_a_session_of_its_own()
    {
        var text = await Bed.OutputOf(output => _bed.Processes.Start("/bin/sh", ["-c", "pwd; cut -d' ' -f1,6 /proc/$$/stat"], stdout: output, workingDirectory: _bed.Folder));

        var lines = text.Split('\n');
        Assert.Equal(_bed.Folder, lines[0]);
        var fields = lines[1].Split(' ');
        Assert.Equal(fields[0], fields[1]);
    }

    [Fact]
    public void A_program_or_folder_that_is_not_there_is_NotFound_and_leaves_nothing()
    {
        var before = Bed.DescriptorsBefore();

        Assert.Equal(SandboxError.NotFound, Assert.Throws<SandboxException>(() => _bed.Processes.Start("/no/such/program", [])).Error);
        Assert.Equal(SandboxError.NotFound, Assert.Throws<SandboxException>(() => _bed.Processes.Start("/bin/sh", [], workingDirectory: "/no/such")).Error);
        Assert.Equal(SandboxError.Unknown, Assert.Throws<SandboxException>(() => _bed.Processes.Start("/etc/passwd", [])).Error);
        Assert.Equal(before, Bed.OpenDescriptors);
    }

    [Fact]
    public async Task A_signal_reaches_the_process_until_it_has_ended()
    {
        using var process = _bed.Shell("sleep 1000");
        Assert.True(process.Signal(Libc.SIGTERM));
        Assert.Equal(128u + 15, (await process.Exited.InTime()).Code);
        Assert.False(process.Signal(Libc.SIGTERM));
        await Within.Fails(SandboxError.NotFound, async () => await process.SignalAsync(9, default));
    }

    [Fact]
    public async Task A_signal_after_Dispose_reaches_nobody_else()
    {
        var disposed = _bed.Shell("sleep 1000");
        disposed.Dispose();
        // The next pidfds take the number that has become free.
        var victims = Enumerable.Range(0, 4).Select(_ => _bed.Shell("sleep 1000")).ToArray();

        Assert.False(disposed.Signal(Libc.SIGKILL));

        foreach (var victim in victims)
        {
            Assert.True(victim.Signal(Libc.SIGTERM));
            Assert.Equal(128u + 15, (await victim.Exited.InTime()).Code);
            victim.Dispose();
        }
        Libc.Kill(disposed.ProcessId, Libc.SIGKILL);
        await disposed.Exited.InTime();
    }

    [Fact]
    public async Task Nothing_is_left_open_by_fifty_processes()
    {
        await RunAsync();
        var before = Bed.DescriptorsBefore();
        for (var i = 0; i < 50; i++)
        {
            await RunAsync();
        }
        Assert.Equal(before, Bed.OpenDescriptors);

        async Task RunAsync()
        {
            using var process = _bed.Shell("exit 3");
            Assert.Equal(3u, (await process.Exited.InTime()).Code);
        }
    }
}
