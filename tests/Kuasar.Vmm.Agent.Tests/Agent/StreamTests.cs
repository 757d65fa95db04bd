using System.Security.Cryptography;
using Google.Protobuf;
using Kuasar.Vmm.Agent.Tests.Support;

namespace Kuasar.Vmm.Agent.Tests.Agent;

public sealed class StreamTests : IAsyncDisposable
{
    private readonly Guest _guest = Guest.Booted();
    private readonly AgentClient _client;

    public StreamTests() => _client = _guest.Client();

    public async ValueTask DisposeAsync()
    {
        await _client.DisposeAsync();
        await _guest.DisposeAsync();
    }

    [Fact]
    public void Ids_and_URIs_are_those_of_the_stdio_strings()
    {
        Assert.Equal("c1-stdout", AgentClient.StreamId("c1", null, "stdout"));
        Assert.Equal("c1-e2-stdin", AgentClient.StreamId("c1", "e2", "stdin"));
        Assert.Throws<ArgumentException>(() => AgentClient.StreamId("c1", null, "stdlog"));
        var uri = AgentClient.StreamUri(VsockEndPoint.Hybrid("/run/k/v.sock", 1024), "c1-stdout");
        Assert.Equal("ttrpc+hvsock:///run/k/v.sock:1024?streaming_id=c1-stdout", uri);
        // vmm-task takes what follows the one "id=".
        Assert.Equal(2, uri.Split("id=").Length);
    }

    [Fact]
    public async Task Ten_megabytes_of_output_arrive_and_a_slow_reader_holds_the_guest_back()
    {
        var stream = _guest.Streams.Of("c1-stdout");
        await using var output = await _client.OpenOutputAsync("c1-stdout").Within();
        var all = RandomNumberGenerator.GetBytes(10 << 20);
        var writing = Task.Run(async () =>
        {
            for (var at = 0; at < all.Length; at += 8192)
            {
                await stream.Messages.Writer.WriteAsync(ByteString.CopyFrom(all.AsSpan(at, 8192)));
            }
            stream.Messages.Writer.Complete();
        });
        var received = new MemoryStream();
        var buffer = new byte[10_000];
        received.Write(buffer, 0, await output.ReadAsync(buffer).Within());
        // Nobody reads: what the guest gets rid of is what the connection and one read hold, then nothing more.
        long before;
        do
        {
            before = Interlocked.Read(ref stream.Sent);
            await Task.Delay(300);
        }
        while (Interlocked.Read(ref stream.Sent) != before);
        Assert.InRange(before, 1, 4 << 20);
        Assert.False(writing.IsCompleted);
        int count;
        while ((count = await output.ReadAsync(buffer).Within()) > 0)
        {
            received.Write(buffer, 0, count);
        }
        await writing.Within();
        Assert.Equal(all.Length, received.Length);
        Assert.True(all.AsSpan().SequenceEqual(received.GetBuffer().AsSpan(0, all.Length)));
        Assert.Equal(0, await output.ReadAsync(buffer).Within());
        // And the calls were never held up.
        await _client.CheckAsync();
    }

    [Fact]
    public async Task A_cancelled_read_takes_nothing()
    {
        await using var output = await _client.OpenOutputAsync("c1-stderr").Within();
        using var cancelled = new CancellationTokenSource(50);
        var buffer = new byte[10];
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => output.ReadAsync(buffer, cancelled.Token).Within());
        await _guest.Streams.Of("c1-stderr").Messages.Writer.WriteAsync(ByteString.CopyFromUtf8("later"));
        Assert.Equal(5, await output.ReadAsync(buffer).Within());
    }

    [Fact]
    public async Task An_empty_message_is_the_end()
    {
        await using var output = await _client.OpenOutputAsync("c1-stdout").Within();
        await _guest.Streams.Of("c1-stdout").Messages.Writer.WriteAsync(ByteString.Empty);
        Assert.Equal(0, await output.ReadAsync(new byte[1]).Within());
    }

    [Fact]
    public async Task The_last_reader_has_the_output_and_nothing_is_lost_between()
    {
        var stream = _guest.Streams.Of("c1-stdout");
        await using var first = await _client.OpenOutputAsync("c1-stdout").Within();
        await stream.Messages.Writer.WriteAsync(ByteString.CopyFromUtf8("one"));
        var buffer = new byte[10];
        Assert.Equal(3, await first.ReadAsync(buffer).Within());
        var waiting = first.ReadAsync(buffer).AsTask();
        await using var second = await _client.OpenOutputAsync("c1-stdout").Within();
        var error = await Assert.ThrowsAsync<IOException>(() => waiting.Within());
        Assert.Contains("preempted", error.Message, StringComparison.Ordinal);
        await stream.Messages.Writer.WriteAsync(ByteString.CopyFromUtf8("two"));
        Assert.Equal(3, await second.ReadAsync(buffer).Within());
    }

    [Fact]
    public async Task A_lost_guest_is_no_end_of_the_output()
    {
        await using var output = await _client.OpenOutputAsync("c1-stdout").Within();
        var read = output.ReadAsync(new byte[1]).AsTask();
        _guest.Vsock.Cut();
        Assert.Equal(VsockFailure.Lost, (await Assert.ThrowsAsync<VsockException>(() => read.Within())).Reason);
    }

    [Fact]
    public async Task Disposing_ends_a_read_and_lets_the_output_go()
    {
        var stream = _guest.Streams.Of("c1-stdout");
        var output = await _client.OpenOutputAsync("c1-stdout").Within();
        var read = output.ReadAsync(new byte[1]).AsTask();
        await output.DisposeAsync().AsTask().Within();
        await Assert.ThrowsAnyAsync<IOException>(() => read.Within());
        // The protocol has no receipt: what the agent writes before it has noticed is lost.
        await Wait.Until(() => !stream.IsBeingRead);
        await stream.Messages.Writer.WriteAsync(ByteString.CopyFromUtf8("kept"));
        await using var next = await _client.OpenOutputAsync("c1-stdout").Within();
        Assert.Equal(4, await next.ReadAsync(new byte[10]).Within());
    }

    [Fact]
    public async Task What_the_agent_refuses_is_an_IOException()
    {
        Assert.Contains("no such stream", (await Assert.ThrowsAsync<IOException>(() => _client.OpenOutputAsync("refused-stdout").Within())).Message, StringComparison.Ordinal);
        Assert.Contains("no such stream", (await Assert.ThrowsAsync<IOException>(() => _client.OpenInputAsync("refused-stdout").Within())).Message, StringComparison.Ordinal);
        await using var nobody = AgentClient.Of(_guest.Vsock.Port(99));
        Assert.Equal(VsockFailure.Refused, (await Assert.ThrowsAsync<VsockException>(() => nobody.OpenOutputAsync("x-stdout").Within())).Reason);
    }

    [Fact]
    public async Task Input_keeps_to_the_window_and_ends()
    {
        var stream = _guest.Streams.Of("c1-stdin");
        await using var input = await _client.OpenInputAsync("c1-stdin").Within();
        var all = RandomNumberGenerator.GetBytes(6 << 20);
        var writing = input.WriteAsync(all).AsTask();
        // The guest's process does not read: 128 messages wait there, and two windows under way.
        long before;
        do
        {
            before = Interlocked.Read(ref stream.Received);
            await Task.Delay(200);
        }
        while (Interlocked.Read(ref stream.Received) != before);
        Assert.False(writing.IsCompleted);
        Assert.InRange(before, 1, 129 * 32 * 1024);
        var received = new MemoryStream();
        while (received.Length < all.Length)
        {
            (await stream.Messages.Reader.ReadAsync().Within()).WriteTo(received);
        }
        await writing.Within();
        Assert.True(stream.LargestMessage <= 32 * 1024);
        Assert.True(all.AsSpan().SequenceEqual(received.ToArray()));
        Assert.False(stream.Ended);
        await input.CompleteAsync().Within();
        Assert.True(stream.Ended);
    }

    [Fact]
    public async Task Letting_go_of_input_is_no_end_of_it()
    {
        var input = await _client.OpenInputAsync("c1-stdin").Within();
        await input.WriteAsync("abc"u8.ToArray());
        await input.DisposeAsync();
        await input.DisposeAsync();
        var stream = _guest.Streams.Of("c1-stdin");
        await Wait.Until(() => stream.Readers < 0);
        Assert.False(stream.Ended);
    }

    [Fact]
    public async Task Input_to_a_lost_guest_fails()
    {
        await using var input = await _client.OpenInputAsync("c1-stdin").Within();
        _guest.Vsock.Cut();
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            while (true)
            {
                await input.WriteAsync(new byte[1000]).AsTask().Within();
            }
        });
        await Assert.ThrowsAnyAsync<IOException>(() => input.CompleteAsync().Within());
    }
}
