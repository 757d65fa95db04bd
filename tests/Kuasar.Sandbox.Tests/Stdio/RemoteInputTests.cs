using System.Text;
using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Stdio;

/// <summary>Input for a process of elsewhere, which a sandboxer reads of its client.</summary>
public sealed class RemoteInputTests : IDisposable
{
    private readonly Bed _bed = new();
    private readonly SafeFileHandle _file = InputStage.NewFile();
    private readonly string _path;
    private readonly SafeFileHandle _client;

    public RemoteInputTests()
    {
        _path = _bed.Fifo("in");
        _client = Libc.Open(_path, Libc.O_RDWR | Libc.O_NONBLOCK);
    }

    public void Dispose()
    {
        _file.Dispose();
        _client.Dispose();
        _bed.Dispose();
    }

    private ClientInput Open(string path) => new(_bed.Loop, Libc.Open(path, Libc.O_RDONLY | Libc.O_NONBLOCK), new InputStage(Libc.Duplicate(_file)));

    private static async Task<string> ReadAsync(ClientInput input, int count = 1000)
    {
        var buffer = new byte[count];
        return Encoding.ASCII.GetString(buffer, 0, await input.ReadAsync(buffer).AsTask().InTime());
    }

    [Fact]
    public async Task What_a_process_has_not_taken_is_read_again()
    {
        Libc.Write(_client, "1234567890"u8);
        await using (var killed = Open(_path))
        {
            Assert.Equal("123456", await ReadAsync(killed, 6));
            Assert.Equal(6, killed.Position);
        }
        await using var next = Open(_path);
        Assert.Equal(6, next.Position);
        next.Position = 4;
        Assert.Equal("56", await ReadAsync(next));
        Assert.Equal("7890", await ReadAsync(next));
        var waiting = ReadAsync(next);
        Libc.Write(_client, "more"u8);
        Assert.Equal("more", await waiting);
        Assert.Equal(14, next.Position);
    }

    [Fact]
    public async Task Much_may_go_by_and_the_last_of_it_is_kept()
    {
        const int Size = 1 << 20;
        await using var input = Open(_path);
        var chunk = new byte[30_000];
        for (var sent = 0; sent < Size; sent += chunk.Length)
        {
            Copier.Lines(sent, chunk.Length).CopyTo(chunk, 0);
            Assert.Equal(chunk.Length, Libc.Write(_client, chunk));
            Assert.Equal(chunk.Length, await input.ReadAsync(chunk).AsTask().InTime());
            Assert.Equal(Copier.Lines(sent, chunk.Length), chunk);
        }
        var all = input.Position;
        input.Position = 0;
        Assert.Equal(all - InputStage.Kept, input.Position);
        while (input.Position < all)
        {
            var begin = input.Position;
            var count = await input.ReadAsync(chunk).AsTask().InTime();
            Assert.Equal(Copier.Lines(begin, count), chunk[..count]);
        }
    }

    [Fact]
    public async Task Where_the_count_went_with_a_keeper_it_begins_with_what_the_process_has()
    {
        await using (var input = Open(_path))
        {
            input.Position = 5_000_000_000;
            Libc.Write(_client, "more"u8);
            Assert.Equal("more", await ReadAsync(input));
        }
        await using var next = Open(_path);
        Assert.Equal(5_000_000_004, next.Position);
    }

    [Fact]
    public async Task A_file_is_read_from_any_position()
    {
        var path = _bed.PathOf("file");
        await File.WriteAllTextAsync(path, "1234567890");
        await using var input = Open(path);
        input.Position = 7;
        Assert.Equal("890", await ReadAsync(input));
        Assert.Equal("", await ReadAsync(input));
    }

    [Fact]
    public async Task A_sandboxer_that_is_killed_at_any_moment_neither_repeats_nor_loses_a_byte()
    {
        const int Kills = 25;
        var process = _bed.PathOf("process");
        await File.WriteAllTextAsync(process, "");
        using var over = new CancellationTokenSource();
        var written = 0;
        var writing = Task.Run(async () =>
        {
            for (var i = 0; !over.IsCancellationRequested; i++)
            {
                var lines = Copier.Lines(written, i % 7 == 0 ? 4000 : 13);
                // At once or not at all: a pipe has pages, and these have one.
                if (Libc.Write(_client, lines) == lines.Length)
                {
                    written += lines.Length;
                }
                else
                {
                    await Task.Delay(1);
                }
            }
        });
        for (var i = 0; i < Kills; i++)
        {
            var before = new FileInfo(process).Length;
            using var copier = _bed.Processes.Start(Environment.ProcessPath!, [Copier.Input, "0", _path, process], stdin: _file);
            await Within.Until(() => new FileInfo(process).Length > before + 20_000, "the copier copies");
            copier.Signal(9);
            await copier.Exited.InTime();
        }
        await over.CancelAsync();
        await writing.InTime();
        var taken = await File.ReadAllBytesAsync(process);
        using var rest = new MemoryStream();
        rest.Write(taken);
        await using (var last = Open(_path))
        {
            last.Position = taken.Length;
            while (rest.Length < written)
            {
                rest.Write(Encoding.ASCII.GetBytes(await ReadAsync(last)));
            }
        }
        Assert.True(Copier.Lines(0, written).AsSpan().SequenceEqual(rest.ToArray()), Encoding.ASCII.GetString(rest.ToArray()));
    }
}
