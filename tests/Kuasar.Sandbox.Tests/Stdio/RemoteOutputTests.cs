using System.Text;
using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Stdio;

/// <summary>Output of a process of elsewhere, which a sandboxer gives its client.</summary>
public sealed class RemoteOutputTests : IDisposable
{
    private readonly Bed _bed = new();
    private readonly SafeFileHandle _note = OutputStage.NewNote();
    private readonly SafeFileHandle _pipe = OutputStage.NewPipe();
    private readonly string _path;
    private readonly SafeFileHandle _client;

    public RemoteOutputTests()
    {
        _path = _bed.Fifo("out");
        _client = Libc.Open(_path, Libc.O_RDWR | Libc.O_NONBLOCK);
    }

    public void Dispose()
    {
        _note.Dispose();
        _pipe.Dispose();
        _client.Dispose();
        _bed.Dispose();
    }

    private OutputStage Stage() => new(Libc.Duplicate(_note), Libc.Duplicate(_pipe));

    private ClientOutput Open(string path) => new(_bed.Loop, Libc.Open(path, Libc.O_RDWR | Libc.O_NONBLOCK | Libc.O_APPEND), Stage());

    private string Read()
    {
        var buffer = new byte[1000];
        return Encoding.ASCII.GetString(buffer, 0, Math.Max(0, Libc.Read(_client, buffer)));
    }

    [Fact]
    public async Task What_was_on_the_stage_is_the_clients_once_and_counts()
    {
        using (var killed = Stage())
        {
            killed.Fill("staged "u8);
        }
        await using var next = Open(_path);
        Assert.Equal(7, next.Position);
        await next.WriteAsync("next"u8.ToArray()).InTime();
        Assert.Equal("staged next", Read());
        Assert.Equal(11, next.Position);
    }

    [Fact]
    public async Task What_was_put_on_the_stage_and_not_noted_counts()
    {
        using (var killed = Stage())
        {
            killed.Fill("one "u8);
            killed.MoveTo(_client);
            var before = new byte[8];
            RandomAccess.Read(_note, before, 0);
            before[0] |= 1;
            killed.Fill("two "u8);
            // As it is between the write and the note that follows.
            RandomAccess.Write(_note, before, 0);
        }
        await using var next = Open(_path);
        Assert.Equal(8, next.Position);
        Assert.Equal("one two ", Read());
    }

    [Fact]
    public async Task A_client_that_reads_late_gets_what_an_earlier_life_has_left_before_the_output_closes()
    {
        var full = new byte[1 << 20];
        var inFifo = Libc.Write(_client, full);
        using (var killed = Stage())
        {
            killed.Fill("left"u8);
        }
        var next = Open(_path);
        var closing = next.DisposeAsync().AsTask();
        await Task.Delay(50);
        Assert.False(closing.IsCompleted);
        Assert.Equal(inFifo, Libc.Read(_client, full));
        await closing.InTime();
        Assert.Equal("left", Read());
    }

    [Fact]
    public async Task Closing_ends_a_write_that_waits_for_its_client()
    {
        await using var output = Open(_path);
        var writing = output.WriteAsync(new byte[1 << 20]).AsTask();
        await Within.Until(() => Libc.BytesAvailable(_client) >= 65536);
        output.Dispose();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing.InTime());
        await Assert.ThrowsAsync<ObjectDisposedException>(() => output.WriteAsync(new byte[1]).InTime());
    }

    [Fact]
    public async Task A_file_is_appended_to_and_counted()
    {
        var path = _bed.PathOf("log");
        await File.WriteAllTextAsync(path, "before ");
        await using (var output = Open(path))
        {
            await output.WriteAsync("more"u8.ToArray()).InTime();
        }
        await using var next = Open(path);
        Assert.Equal(4, next.Position);
        await next.WriteAsync(" and more"u8.ToArray()).InTime();
        Assert.Equal("before more and more", await File.ReadAllTextAsync(path));
    }

    [Fact]
    public async Task A_sandboxer_that_is_killed_at_any_moment_neither_repeats_nor_loses_a_byte()
    {
        const int Kills = 25;
        var received = new MemoryStream();
        using var over = new CancellationTokenSource();
        var reading = Task.Run(() =>
        {
            var buffer = new byte[8192];
            while (!over.IsCancellationRequested || Libc.BytesAvailable(_client) > 0)
            {
                if (Libc.WaitReadable(_client, TimeSpan.FromMilliseconds(10)))
                {
                    received.Write(buffer, 0, Libc.Read(_client, buffer));
                }
            }
        });
        string note = PathOf(_note), stage = PathOf(_pipe);
        for (var i = 0; i < Kills; i++)
        {
            var before = received.Length;
            using var process = _bed.Processes.Start(Environment.ProcessPath!, [Copier.Output, note, stage, _path]);
            await Within.Until(() => received.Length > before + 20_000, "the writer writes");
            process.Signal(9);
            await process.Exited.InTime();
        }
        await using (var last = Open(_path))
        {
            await last.WriteAsync("end"u8.ToArray()).InTime();
            await over.CancelAsync();
            await reading.InTime();
            Assert.Equal(last.Position, received.Length);
        }
        var all = received.ToArray();
        Assert.Equal("end"u8, all.AsSpan(^3..));
        Assert.True(Copier.Lines(0, all.Length - 3).AsSpan().SequenceEqual(all.AsSpan(..^3)), Encoding.ASCII.GetString(all));

        static string PathOf(SafeFileHandle handle) => $"/proc/{Environment.ProcessId}/fd/{handle.DangerousGetHandle()}";
    }
}
