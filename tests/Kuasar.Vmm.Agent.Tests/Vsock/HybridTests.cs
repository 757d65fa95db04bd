using System.Net.Sockets;
using System.Text;
using Kuasar.Vmm.Agent.Tests.Support;

namespace Kuasar.Vmm.Agent.Tests.Vsock;

public sealed class HybridTests : IAsyncDisposable
{
    private static readonly TimeSpan s_short = TimeSpan.FromMilliseconds(200);

    private readonly Folder _folder = new();
    private readonly HybridSocket _guest;

    public HybridTests() => _guest = new HybridSocket(_folder.File("v.sock"));

    public async ValueTask DisposeAsync()
    {
        await _guest.DisposeAsync();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public async Task What_follows_OK_belongs_to_the_stream(int part)
    {
        _guest.Reply = "OK 1073741824\nhello";
        _guest.ReplyPart = part;
        _guest.Listen(5, static socket => EchoAsync(socket));
        await using var stream = await _guest.Port(5).ConnectAsync(Wait.Limit);
        var buffer = new byte[5];
        await stream.ReadExactlyAsync(buffer);
        Assert.Equal("hello", Encoding.ASCII.GetString(buffer));
        await stream.WriteAsync("again"u8.ToArray());
        await stream.ReadExactlyAsync(buffer);
        Assert.Equal("again", Encoding.ASCII.GetString(buffer));
    }

    [Fact]
    public async Task Blocking_calls_work_and_half_closing_ends_the_other_side()
    {
        _guest.Listen(5, static socket => EchoAsync(socket));
        await using var stream = await _guest.Port(5).ConnectAsync(Wait.Limit);
        stream.Write("blocking"u8);
        var buffer = new byte[8];
        stream.ReadExactly(buffer);
        Assert.Equal("blocking"u8, buffer);
        stream.CompleteWrites();
        Assert.Equal(0, await stream.ReadAsync(buffer).Within());
    }

    [Fact]
    public async Task Nobody_on_the_port_is_refused()
    {
        var error = await Assert.ThrowsAsync<VsockException>(() => _guest.Port(6).ConnectAsync(Wait.Limit).AsTask());
        Assert.Equal(VsockFailure.Refused, error.Reason);
    }

    [Fact]
    public async Task A_guest_without_driver_is_not_ready()
    {
        _guest.DriverUp = false;
        var error = await Assert.ThrowsAsync<VsockException>(() => _guest.Port(6).ConnectAsync(Wait.Limit).AsTask());
        Assert.Equal(VsockFailure.NotReady, error.Reason);
    }

    [Fact]
    public async Task No_socket_is_no_hypervisor()
    {
        var error = await Assert.ThrowsAsync<VsockException>(() => VsockEndPoint.Hybrid(_folder.File("none"), 1).ConnectAsync(Wait.Limit).AsTask());
        Assert.Equal(VsockFailure.NoHypervisor, error.Reason);
        File.WriteAllText(_folder.File("file"), "");
        error = await Assert.ThrowsAsync<VsockException>(() => VsockEndPoint.Hybrid(_folder.File("file"), 1).ConnectAsync(Wait.Limit).AsTask());
        Assert.Equal(VsockFailure.NoHypervisor, error.Reason);
    }

    [Theory]
    [InlineData("HTTP/1.1 400 Bad Request\n")]
    [InlineData("NO 5\n")]
    [InlineData("OK without an end of the line, and longer than any reply")]
    public async Task Another_reply_is_a_breach_of_the_protocol(string reply)
    {
        _guest.Reply = reply;
        _guest.Listen(5, static socket => EchoAsync(socket));
        var error = await Assert.ThrowsAsync<VsockException>(() => _guest.Port(5).ConnectAsync(Wait.Limit).AsTask());
        Assert.Equal(VsockFailure.Protocol, error.Reason);
    }

    [Fact]
    public async Task A_guest_that_does_not_answer_costs_the_timeout()
    {
        _guest.Reply = "";
        _guest.Listen(5, static socket => EchoAsync(socket));
        var error = await Assert.ThrowsAsync<VsockException>(() => _guest.Port(5).ConnectAsync(s_short).AsTask().Within());
        Assert.Equal(VsockFailure.TimedOut, error.Reason);

        using var cancelled = new CancellationTokenSource(s_short);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _guest.Port(5).ConnectAsync(Wait.Limit, cancelled.Token).AsTask().Within());
    }

    /// <summary>vhost-device-vsock cannot stand an answer to nobody.</summary>
    [Fact]
    public async Task A_dial_that_is_given_up_stays_open_until_it_is_answered()
    {
        var (dialled, closed) = (new TaskCompletionSource(), new TaskCompletionSource<int>());
        _guest.Reply = "O";
        _guest.Listen(5, async socket =>
        {
            await dialled.Task;
            var end = socket.ReceiveAsync(new byte[1]);
            await Task.Delay(s_short);
            Assert.False(end.IsCompleted);
            await socket.SendAsync("K 5\n"u8.ToArray());
            closed.SetResult(await end);
        });
        using var cancelled = new CancellationTokenSource(s_short);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _guest.Port(5).ConnectAsync(Wait.Limit, cancelled.Token).AsTask().Within());
        dialled.SetResult();
        Assert.Equal(0, await closed.Task.Within());
    }

    [Fact]
    public async Task A_full_backlog_is_waited_for()
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(_folder.File("full")));
        socket.Listen(0);
        var endPoint = VsockEndPoint.Hybrid(_folder.File("full"), 1);
        var dials = Enumerable.Range(0, 4).Select(_ => endPoint.ConnectAsync(s_short).AsTask()).ToArray();
        foreach (var dial in dials)
        {
            Assert.Equal(VsockFailure.TimedOut, (await Assert.ThrowsAsync<VsockException>(() => dial.Within())).Reason);
        }
    }

    [Fact]
    public async Task Disposing_ends_a_read()
    {
        _guest.Listen(5, static socket => EchoAsync(socket));
        var stream = await _guest.Port(5).ConnectAsync(Wait.Limit);
        var read = stream.ReadAsync(new byte[1]).AsTask();
        await stream.DisposeAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => read.Within());
    }

    /// <summary>vhost-device-vsock tells the guest of ends only.</summary>
    [Fact]
    public async Task Disposing_with_bytes_unread_is_an_end_and_no_error()
    {
        var (sent, end) = (new TaskCompletionSource(), new TaskCompletionSource<int>());
        _guest.Listen(5, async socket =>
        {
            await socket.SendAsync(new byte[100_000]);
            sent.SetResult();
            end.SetResult(await socket.ReceiveAsync(new byte[1]));
        });
        var stream = await _guest.Port(5).ConnectAsync(Wait.Limit);
        await sent.Task.Within();
        await stream.DisposeAsync();
        Assert.Equal(0, await end.Task.Within());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Disposing_ends_a_read_that_blocks_its_thread(bool usedAsynchronously)
    {
        _guest.Listen(5, static socket => EchoAsync(socket));
        var stream = await _guest.Port(5).ConnectAsync(Wait.Limit);
        if (usedAsynchronously)
        {
            await stream.WriteAsync("x"u8.ToArray());
            Assert.Equal(1, await stream.ReadAsync(new byte[1]).Within());
        }
        var read = Task.Run(() => stream.Read(new byte[1]));
        await Task.Delay(50);
        Assert.False(read.IsCompleted);
        stream.Dispose();
        try
        {
            Assert.Equal(0, await read.Within());
        }
        catch (Exception error) when (error is VsockException or ObjectDisposedException)
        {
            // As good: it has ended.
        }
    }

    [Fact]
    public async Task A_connection_that_breaks_is_an_IOException_that_names_it()
    {
        _guest.Listen(5, static socket => EchoAsync(socket));
        await using var stream = await _guest.Port(5).ConnectAsync(Wait.Limit);
        _guest.Cut();
        var error = await Assert.ThrowsAsync<VsockException>(async () =>
        {
            while (true)
            {
                await stream.WriteAsync(new byte[1000]).AsTask().Within();
            }
        });
        Assert.Equal(VsockFailure.Lost, error.Reason);
        Assert.Contains("v.sock:5", error.Message, StringComparison.Ordinal);
    }

    internal static async Task EchoAsync(Socket socket)
    {
        var buffer = new byte[64 * 1024];
        while (await socket.ReceiveAsync(buffer) is > 0 and var count)
        {
            await socket.SendAsync(buffer.AsMemory(0, count));
        }
    }
}
