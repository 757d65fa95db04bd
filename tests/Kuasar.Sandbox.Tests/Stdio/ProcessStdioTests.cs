using System.Text;
using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Stdio;

public sealed class ProcessStdioTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    private Task<ProcessStdio> OpenAsync(string stdin = "", string stdout = "", string stderr = "") =>
        ProcessStdio.OpenAsync(_bed.Stdio, new StdioAddresses(stdin, stdout, stderr, false), "ns/one", ("one", "ns")).InTime();

    private async Task<HostProcess> RunAsync(ProcessStdio stdio, string script)
    {
        var process = _bed.Shell(script, stdio.Stdin, stdio.Stdout, stdio.Stderr);
        await stdio.AttachAsync(false, process.Exited, CancellationToken.None).InTime();
        return process;
    }

    private static SafeFileHandle Reader(string path) => Libc.Open(path, Libc.O_RDONLY | Libc.O_NONBLOCK);

    private static Task<string> ReadAsync(SafeFileHandle reader, int count) => Task.Run(() =>
    {
        var buffer = new byte[count];
        Assert.True(Libc.WaitReadable(reader, Within.Limit));
        var n = Libc.Read(reader, buffer);
        Assert.True(n >= 0, $"errno {-n}");
        return Encoding.UTF8.GetString(buffer, 0, n);
    });

    private static Task<string> ReadToEndAsync(SafeFileHandle reader) =>
        Task.Run(() => Encoding.UTF8.GetString(Libc.ReadToEnd(reader, 1 << 20, "fifo"))).InTime();

    /// <summary>As containerd does with a container whose start was Unavailable.</summary>
    [Fact]
    public async Task The_streams_of_a_client_that_has_gone_with_its_fifos_take_all_and_give_none()
    {
        await using var stdio = ProcessStdio.Recover(
            _bed.Stdio, new StdioAddresses(_bed.PathOf("in"), _bed.PathOf("out"), "fifo://" + _bed.PathOf("err"), false), "ns/one", stdinClosed: false, remote: true);
        Assert.Equal(0, await stdio.OpenInput()!.ReadAsync(new byte[10]).AsTask().InTime());
        foreach (var stream in (Stream?[])[stdio.OpenOutput(), stdio.OpenError()])
        {
            await stream!.WriteAsync(new byte[200_000]).AsTask().InTime();
            Assert.Equal(200_000, stream.Position);
        }
        Assert.False(File.Exists(_bed.PathOf("out")));
    }

    [Fact]
    public async Task A_reader_may_leave_and_come_back_and_sees_the_end_with_the_process()
    {
        var path = _bed.Fifo("out");
        var (input, go) = Libc.Pipe();
        await using var stdio = await OpenAsync(stdout: path);
        var first = Reader(path);
        using var process = _bed.Shell("echo one; read line; echo two; read line; echo three", input, stdio.Stdout);
        await stdio.AttachAsync(false, process.Exited, CancellationToken.None);
        Assert.Equal("one\n", await ReadAsync(first, 100));
        first.Dispose();

        // Nobody reads: no SIGPIPE, and nothing is lost.
        Libc.Write(go, "\n"u8);
        using var second = Reader(path);
        Assert.Equal("two\n", await ReadAsync(second, 100));
        Libc.Write(go, "\n"u8);

        Assert.Equal("three\n", await ReadToEndAsync(second));
        Assert.Equal(0u, (await process.Exited.InTime()).Code);
        input.Dispose();
        go.Dispose();
    }

    [Fact]
    public async Task Output_is_kept_for_a_reader_that_comes_after_the_end()
    {
        var path = _bed.Fifo("out");
        await using var stdio = await OpenAsync(stdout: path);
        using var process = await RunAsync(stdio, "echo kept");
        await process.Exited.InTime();
        await stdio.DrainAsync(TimeSpan.FromSeconds(10)).InTime();

        // As Go's clients do it: an open that waits for a writer.
        using var reader = await Task.Run(() => Libc.Open(path, Libc.O_RDONLY)).InTime();
        Assert.Equal("kept\n", await ReadAsync(reader, 5));
        Assert.True(_bed.Time.IsArmed(TimeSpan.FromMilliseconds(2)));
        _bed.Time.Advance(TimeSpan.FromMilliseconds(2));

        Assert.Equal("", await ReadToEndAsync(reader));
    }

    [Fact]
    public async Task A_fifo_that_the_client_has_replaced_or_removed_does_not_fail_the_end()
    {
        string replaced = _bed.Fifo("out"), removed = _bed.Fifo("err");
        await using var stdio = await OpenAsync(stdout: replaced, stderr: removed);
        using var process = await RunAsync(stdio, "echo lost; echo lost >&2");
        await process.Exited.InTime();
        File.Delete(removed);
        File.Delete(replaced);
        Native.MakeFifo(replaced);

        await stdio.DrainAsync(TimeSpan.FromSeconds(10)).InTime();
    }

    [Fact]
    public async Task Stdin_ends_when_both_the_client_and_CloseStdin_have_let_go()
    {
        string stdin = _bed.Fifo("in"), stdout = _bed.Fifo("out");
        await using var stdio = await OpenAsync(stdin, stdout);
        using var process = await RunAsync(stdio, "while read line; do echo got $line; done; echo end");
        using var reader = Reader(stdout);
        var client = Libc.Open(stdin, Libc.O_WRONLY);

        // A client that leaves before CloseStdin ends nothing.
        Libc.Write(client, "a\n"u8);
        Assert.Equal("got a\n", await ReadAsync(reader, 100));
        client.Dispose();
        client = Libc.Open(stdin, Libc.O_WRONLY | Libc.O_NONBLOCK);
        Libc.Write(client, "b\n"u8);
        Assert.Equal("got b\n", await ReadAsync(reader, 100));
        // Nor does CloseStdin while the client still writes.
        stdio.CloseStdin();
        Libc.Write(client, "c\n"u8);
        Assert.Equal("got c\n", await ReadAsync(reader, 100));
        Assert.False(process.Exited.IsCompleted);

        client.Dispose();

        Assert.Equal("end\n", await ReadToEndAsync(reader));
        await process.Exited.InTime();
    }

    [Fact]
    public async Task A_file_is_appended_to_and_its_folder_made_and_both_streams_share_it()
    {
        var path = _bed.PathOf("logs/of/one.log");
        for (var i = 0; i < 2; i++)
        {
            await using var stdio = await OpenAsync(stdout: "file://" + path, stderr: "file://" + path);
            using var process = await RunAsync(stdio, "echo out; echo err >&2; echo out");
            await process.Exited.InTime();
        }

        Assert.Equal("out\nerr\nout\nout\nerr\nout\n", await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_fifo_named_as_a_file_holds_up_nobody()
    {
        string stdin = _bed.Fifo("in"), stdout = _bed.Fifo("out");
        await using var stdio = await OpenAsync("file://" + stdin, "file://" + stdout);
        using var process = await RunAsync(stdio, "echo here");
        using var reader = Reader(stdout);

        Assert.Equal("here\n", await ReadAsync(reader, 100));
        await process.Exited.InTime();
    }

    [Fact]
    public async Task What_cannot_be_opened_is_NotFound_and_leaves_nothing_open()
    {
        var stdin = _bed.Fifo("in");
        await Within.Fails(SandboxError.NotFound, () => OpenAsync(stdin, "file://" + _bed.PathOf("a"), _bed.PathOf("missing")));
        var before = Bed.DescriptorsBefore();

        await Within.Fails(SandboxError.NotFound, () => OpenAsync(stdin, "file://" + _bed.PathOf("a"), _bed.PathOf("missing")));
        await Within.Fails(SandboxError.InvalidArgument, () => OpenAsync(stdin, "ftp:///x"));
        await Within.Fails(SandboxError.InvalidArgument, () => OpenAsync("binary:///bin/true"));

        Assert.Equal(before, Bed.OpenDescriptors);
        Assert.Equal(0, _bed.Handles.Count);
    }

    [Fact]
    public async Task Dispose_closes_everything_and_may_be_repeated()
    {
        string stdin = _bed.Fifo("in"), stdout = _bed.Fifo("out"), stderr = _bed.Fifo("err");
        await RunOnceAsync();
        var before = Bed.DescriptorsBefore();
        for (var i = 0; i < 20; i++)
        {
            // The same name each time: an exec id may come again as soon as its exec is deleted.
            await RunOnceAsync();
        }
        Assert.Equal(before, Bed.OpenDescriptors);
        Assert.Equal(0, _bed.Handles.Count);

        async Task RunOnceAsync()
        {
            var stdio = await OpenAsync(stdin, stdout, stderr);
            using var process = await RunAsync(stdio, "echo unread");
            await process.Exited.InTime();
            await stdio.DrainAsync(TimeSpan.FromSeconds(10)).InTime();
            await stdio.DisposeAsync();
            await stdio.DisposeAsync();
            await stdio.DrainAsync(TimeSpan.FromSeconds(10)).InTime();
        }
    }
}
