using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Stdio;

public sealed class TerminalTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    private Task<ProcessStdio> OpenAsync(string stdin = "", string stdout = "") =>
        ProcessStdio.OpenAsync(_bed.Stdio, new StdioAddresses(stdin, stdout, "", true), "ns/one", ("one", "ns")).InTime();

    /// <summary>Plays the runtime: makes a pty, starts the process on it and sends the master.</summary>
    private async Task<(HostProcess Process, SafeFileHandle Slave)> RunAsync(ProcessStdio stdio, string script)
    {
        var (master, path) = Native.OpenTerminal();
        var slave = Libc.Open(path, Libc.O_RDWR | Libc.O_NOCTTY);
        var process = _bed.Shell("stty raw -echo; " + script, slave, slave, slave);
        Native.SendHandles(stdio.ConsoleSocket!, master);
        master.Dispose();
        await stdio.AttachAsync(false, process.Exited, CancellationToken.None).InTime();
        return (process, slave);
    }

    private static async Task<byte[]> ReadAsync(SafeFileHandle reader, int count) => await Task.Run(() =>
    {
        var buffer = new byte[count];
        var length = 0;
        while (length < count)
        {
            Assert.True(Libc.WaitReadable(reader, Within.Limit), $"only {length} bytes came");
            var n = Libc.Read(reader, buffer.AsSpan(length));
            Assert.True(n > 0, $"{n} after {length} bytes");
            length += n;
        }
        return buffer;
    });

    private static async Task<string> ReadTextAsync(SafeFileHandle reader, int count) =>
        System.Text.Encoding.UTF8.GetString(await ReadAsync(reader, count));

    [Fact]
    public async Task Both_directions_are_copied_and_the_end_is_seen()
    {
        string stdin = _bed.Fifo("in"), stdout = _bed.Fifo("out");
        await using var stdio = await OpenAsync(stdin, stdout);
        var socket = stdio.ConsoleSocket!;
        using var reader = Libc.Open(stdout, Libc.O_RDONLY | Libc.O_NONBLOCK);
        using var writer = Libc.Open(stdin, Libc.O_WRONLY | Libc.O_NONBLOCK);
        var (process, slave) = await RunAsync(stdio, "echo ready; read line; echo got $line; read line; echo bye");
        slave.Dispose();
        Assert.Null(stdio.ConsoleSocket);
        Assert.False(File.Exists(socket));

        Assert.Equal("ready\n", await ReadTextAsync(reader, 6));
        Libc.Write(writer, "word\n"u8);
        Assert.Equal("got word\n", await ReadTextAsync(reader, 9));
        Libc.Write(writer, "\n"u8);

        Assert.Equal("bye\n", await ReadTextAsync(reader, 4));
        await process.Exited.InTime();
        await stdio.DrainAsync(TimeSpan.FromSeconds(10)).InTime();
        Assert.Equal("", System.Text.Encoding.UTF8.GetString(Libc.ReadToEnd(reader, 100, "fifo")));
        process.Dispose();
    }

    [Fact]
    public async Task A_megabyte_goes_through_each_way_unchanged()
    {
        var data = new byte[1 << 20];
        new Random(1).NextBytes(data);
        await File.WriteAllBytesAsync(_bed.PathOf("data"), data, TestContext.Current.CancellationToken);
        string stdin = _bed.Fifo("in"), stdout = _bed.Fifo("out");
        await using var stdio = await OpenAsync(stdin, stdout);
        using var reader = Libc.Open(stdout, Libc.O_RDONLY | Libc.O_NONBLOCK);
        using var writer = Libc.Open(stdin, Libc.O_WRONLY | Libc.O_NONBLOCK);
        var (process, slave) = await RunAsync(stdio, $"cat {_bed.PathOf("data")}; head -c {data.Length} >{_bed.PathOf("copy")}; echo done");
        slave.Dispose();

        Assert.Equal(data, await ReadAsync(reader, data.Length));
        await Task.Run(() => Libc.WriteAll(writer, data, "stdin")).InTime();

        Assert.Equal("done\n", await ReadTextAsync(reader, 5));
        Assert.Equal(data, await File.ReadAllBytesAsync(_bed.PathOf("copy"), TestContext.Current.CancellationToken));
        await process.Exited.InTime();
        process.Dispose();
    }

    [Fact]
    public async Task A_client_that_does_not_read_stops_its_terminal_alone_and_nothing_spins()
    {
        var stdout = _bed.Fifo("out");
        await using var stdio = await OpenAsync(stdout: stdout);
        using var reader = Libc.Open(stdout, Libc.O_RDONLY | Libc.O_NONBLOCK);
        var (process, slave) = await RunAsync(stdio, "exec yes");
        slave.Dispose();
        // Full: the writer sleeps, and so does the loop, which a spin would not let it.
        var before = 0L;
        var same = 0;
        await Within.Until(
            () =>
            {
                same = _bed.Loop.WakeUps == before && IsAsleep(process.ProcessId) && Libc.BytesAvailable(reader) > 0 ? same + 1 : 0;
                before = _bed.Loop.WakeUps;
                return same == 100;
            },
            "the full fifo");

        using var other = _bed.Shell("exit 4");
        Assert.Equal(4u, (await other.Exited.InTime()).Code);

        // One for that exit; a few for what was still under way.
        Assert.InRange(_bed.Loop.WakeUps - before, 1, 10);
        process.Signal(Libc.SIGKILL);
        await process.Exited.InTime();
        process.Dispose();
    }

    [Fact]
    public async Task Endless_output_that_is_thrown_away_does_not_keep_the_loop_from_others()
    {
        await using var stdio = await OpenAsync(stdout: "file:///dev/null");
        // Two writers, so that the terminal is never empty.
        var (process, slave) = await RunAsync(stdio, "yes & exec yes");
        slave.Dispose();

        for (var i = 0; i < 20; i++)
        {
            using var other = _bed.Shell("exit 4");
            Assert.Equal(4u, (await other.Exited.InTime()).Code);
        }

        process.Signal(Libc.SIGKILL);
        await process.Exited.InTime();
        process.Dispose();
    }

    [Fact]
    public async Task A_terminal_with_much_to_say_gives_way_after_some_reads()
    {
        // The loop is held, so that only the relay's own first turn runs.
        var held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var go = new ManualResetEventSlim();
        var (hold, release) = Libc.Pipe();
        using var registration = _bed.Loop.Register(hold, EventLoop.In, _ =>
        {
            Libc.Read(hold, new byte[1]);
            held.SetResult();
            go.Wait(Within.Limit);
        });
        Libc.Write(release, "x"u8);
        await held.Task.InTime();
        var (master, writer) = Libc.Pipe();
        var (client, output) = Libc.Pipe();
        Libc.TryEnlargePipe(writer, 1 << 20);
        const int Much = 50 * 4096;
        Assert.Equal(Much, Libc.Write(writer, new byte[Much]));

        using (var relay = new TerminalRelay(_bed.Loop, master, null, output))
        {
            Assert.Equal(16 * 8192, Libc.BytesAvailable(client));
            go.Set();
            await Within.Until(() => Libc.BytesAvailable(client) == Much, "the rest");
            writer.Dispose();
            await relay.Ended.InTime();
        }
        foreach (var handle in new[] { hold, release, master, client, output })
        {
            handle.Dispose();
        }
    }

    [Fact]
    public async Task Descendants_that_hold_the_terminal_delay_the_end_for_the_limit_only()
    {
        await using var stdio = await OpenAsync(stdout: _bed.Fifo("out"));
        var (process, slave) = await RunAsync(stdio, "exit 0");
        await process.Exited.InTime();
        var drained = stdio.DrainAsync(TimeSpan.FromSeconds(10));
        Assert.False(drained.IsCompleted);

        _bed.Time.Advance(TimeSpan.FromSeconds(10));

        await drained.InTime();
        slave.Dispose();
        process.Dispose();
    }

    [Fact]
    public async Task Resize_sets_the_terminals_size_and_is_harmless_afterwards()
    {
        await using var stdio = await OpenAsync();
        var (process, slave) = await RunAsync(stdio, "sleep 1000");

        stdio.Resize(132, 43);

        Assert.Equal((132, 43), Native.WindowSize(slave));
        process.Signal(Libc.SIGKILL);
        await process.Exited.InTime();
        slave.Dispose();
        await stdio.DisposeAsync();
        stdio.Resize(1, 1);
        process.Dispose();
    }

    [Fact]
    public async Task Nothing_is_left_open_after_Dispose()
    {
        string stdin = _bed.Fifo("in"), stdout = _bed.Fifo("out");
        await RunOnceAsync();
        var before = Bed.DescriptorsBefore();
        for (var i = 0; i < 10; i++)
        {
            await RunOnceAsync();
        }
        Assert.Equal(before, Bed.OpenDescriptors);
        Assert.Equal(0, _bed.Handles.Count);
        Assert.Empty(Directory.GetFiles(_bed.Stdio.ConsoleDirectory));

        async Task RunOnceAsync()
        {
            var stdio = await OpenAsync(stdin, stdout);
            var (process, slave) = await RunAsync(stdio, "echo unread");
            slave.Dispose();
            await process.Exited.InTime();
            await stdio.DrainAsync(TimeSpan.FromSeconds(10)).InTime();
            await stdio.DisposeAsync();
            process.Dispose();
        }
    }

    [Fact]
    public async Task A_process_that_ends_without_sending_a_terminal_fails_soon()
    {
        await using var stdio = await OpenAsync();
        using var process = _bed.Shell("exit 0");
        await process.Exited.InTime();
        var attaching = stdio.AttachAsync(false, process.Exited, CancellationToken.None);
        Assert.False(attaching.IsCompleted);

        await Within.Until(() => _bed.Time.IsArmed(TimeSpan.FromSeconds(1)), "the last wait");
        _bed.Time.Advance(TimeSpan.FromSeconds(1));

        await Within.Fails(SandboxError.DeadlineExceeded, () => attaching);
    }

    [Fact]
    public async Task A_living_process_that_sends_no_terminal_fails_after_the_limit()
    {
        await using var stdio = await OpenAsync();
        var attaching = stdio.AttachAsync(false, new TaskCompletionSource().Task, CancellationToken.None);
        await Within.Until(() => _bed.Time.IsArmed(TimeSpan.FromSeconds(30)), "the limit");

        _bed.Time.Advance(TimeSpan.FromSeconds(30));

        await Within.Fails(SandboxError.DeadlineExceeded, () => attaching);
    }

    [Fact]
    public async Task A_message_without_a_terminal_fails_and_fds_too_many_are_closed()
    {
        await using (var stdio = await OpenAsync())
        {
            Native.SendHandles(stdio.ConsoleSocket!);
            await Within.Fails(SandboxError.Unknown, () => stdio.AttachAsync(false, new TaskCompletionSource().Task, CancellationToken.None));
        }
        var (master, _) = Native.OpenTerminal();
        var before = Bed.DescriptorsBefore();
        await using (var stdio = await OpenAsync())
        {
            Native.SendHandles(stdio.ConsoleSocket!, master, master, master);
            await stdio.AttachAsync(false, new TaskCompletionSource().Task, CancellationToken.None).InTime();
        }
        Assert.Equal(before, Bed.OpenDescriptors);
        master.Dispose();
    }

    private static bool IsAsleep(int pid)
    {
        var stat = File.ReadAllText($"/proc/{pid}/stat");
        return stat[stat.LastIndexOf(')') + 2] == 'S' && File.ReadAllText($"/proc/{pid}/comm") == "yes\n";
    }
}
