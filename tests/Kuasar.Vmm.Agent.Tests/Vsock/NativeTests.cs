using System.Net.Sockets;
using Kuasar.Linux;
using Kuasar.Vmm.Agent.Tests.Support;

namespace Kuasar.Vmm.Agent.Tests.Vsock;

/// <summary>AF_VSOCK, of this host and, by <see cref="Guests.GuestTests"/>, of a guest that has vsock_loopback.</summary>
[Collection(nameof(NativeTests))]
public sealed class NativeTests
{
    [Fact]
    public async Task A_listener_has_the_port_that_the_kernel_chose_and_ends_its_thread()
    {
        SkipWithoutVsock();
        var listener = VsockEndPoint.Native(VsockEndPoint.AnyCid, VsockEndPoint.AnyPort).Listen();
        Assert.NotEqual(VsockEndPoint.AnyPort, listener.LocalEndPoint.Port);
        Assert.Equal(VsockFailure.InUse, Assert.Throws<VsockException>(() => listener.LocalEndPoint.Listen()).Reason);
        var accept = listener.AcceptStreamAsync(default).AsTask();
        await listener.DisposeAsync().AsTask().Within();
        await listener.DisposeAsync();
        Assert.Null(await accept.Within());
        await using var again = listener.LocalEndPoint.Listen();
    }

    [Fact]
    public async Task A_dial_to_nobody_ends_with_a_reason_within_its_time()
    {
        SkipWithoutVsock();
        var start = TimeProvider.System.GetTimestamp();
        var error = await Assert.ThrowsAsync<VsockException>(
            () => VsockEndPoint.Native(VsockEndPoint.LoopbackCid, 4000).ConnectAsync(TimeSpan.FromMilliseconds(300)).AsTask().Within());
        Assert.Contains(error.Reason, new[] { VsockFailure.TimedOut, VsockFailure.NotReady, VsockFailure.Refused });
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(2));
        using var cancelled = new CancellationTokenSource(TimeSpan.FromMilliseconds(100));
        await Assert.ThrowsAnyAsync<Exception>(
            () => VsockEndPoint.Native(VsockEndPoint.LoopbackCid, 4000).ConnectAsync(Wait.Limit, cancelled.Token).AsTask().Within());
    }

    /// <summary>Where there is a loopback: explicit, as the guest's run is.</summary>
    [Fact(Explicit = true)]
    public async Task Loopback_echoes()
    {
        await using var listener = VsockEndPoint.Native(VsockEndPoint.AnyCid, VsockEndPoint.AnyPort).Listen();
        await using var client = await VsockEndPoint.Native(VsockEndPoint.LoopbackCid, listener.LocalEndPoint.Port).ConnectAsync(Wait.Limit);
        await using var server = await listener.AcceptStreamAsync(default).Within();
        var sent = new byte[1 << 20];
        Random.Shared.NextBytes(sent);
        var echo = server!.CopyToAsync(server);
        var write = client.WriteAsync(sent).AsTask();
        var received = new byte[sent.Length];
        await client.ReadExactlyAsync(received).AsTask().Within();
        await write;
        Assert.Equal(sent, received);
        client.CompleteWrites();
        await echo.Within();
    }

    /// <summary>Guest kernels from 6.12 on stall on more. Datagrams show what each system call has written.</summary>
    [Fact]
    public async Task No_write_is_larger_than_32_KiB()
    {
        using var folder = new Folder();
        using var receiver = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        receiver.Bind(new UnixDomainSocketEndPoint(folder.File("d")));
        var sender = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        await sender.ConnectAsync(new UnixDomainSocketEndPoint(folder.File("d")));
        await using var stream = new VsockStream(sender, VsockEndPoint.Native(2, 1024));
        var writing = stream.WriteAsync(new byte[100_000]).AsTask();
        var buffer = new byte[200_000];
        int[] expected = [32768, 32768, 32768, 100_000 - (3 * 32768)];
        foreach (var size in expected)
        {
            Assert.Equal(size, await receiver.ReceiveAsync(buffer));
        }
        await writing.Within();
        var blocking = Task.Run(() => stream.Write(new byte[40_000]));
        Assert.Equal(32768, await receiver.ReceiveAsync(buffer));
        Assert.Equal(40_000 - 32768, await receiver.ReceiveAsync(buffer));
        await blocking.Within();
    }

    private static void SkipWithoutVsock()
    {
        try
        {
            Libc.OpenVsock().Dispose();
        }
        catch (LinuxException error)
        {
            Assert.Skip($"this kernel has no AF_VSOCK ({error.Message})");
        }
    }
}
