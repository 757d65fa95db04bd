using System.Net.Sockets;
using Kuasar.Vmm.Agent.Tests.Support;

namespace Kuasar.Vmm.Agent.Tests.Vsock;

public sealed class HybridListenerTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    private VsockEndPoint EndPoint => VsockEndPoint.Hybrid(_folder.File("v.sock"), 1026);

    private string SocketFile => _folder.File("v.sock_1026");

    [Fact]
    public async Task A_guest_that_dials_the_host_is_accepted()
    {
        await using var guest = new HybridSocket(_folder.File("v.sock"));
        await using var listener = EndPoint.Listen();
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(SocketFile));
        using var call = await guest.CallAsync(1026);
        await using var stream = await listener.AcceptStreamAsync(default).Within();
        await call.SendAsync("hi"u8.ToArray());
        var buffer = new byte[2];
        await stream!.ReadExactlyAsync(buffer);
        Assert.Equal("hi"u8, buffer);
    }

    [Fact]
    public async Task The_file_goes_with_the_listener_and_accepts_end()
    {
        var listener = EndPoint.Listen();
        var accept = listener.AcceptStreamAsync(default).AsTask();
        await listener.DisposeAsync();
        await listener.DisposeAsync();
        Assert.Null(await accept.Within());
        Assert.Null(await listener.AcceptStreamAsync(default).Within());
        Assert.False(File.Exists(SocketFile));
    }

    [Fact]
    public async Task A_dead_listeners_file_is_replaced_and_a_live_ones_is_not()
    {
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            dead.Bind(new UnixDomainSocketEndPoint(SocketFile));
            // .NET would remove the file.
            File.Move(SocketFile, SocketFile + "-kept");
        }
        File.Move(SocketFile + "-kept", SocketFile);
        await using var listener = EndPoint.Listen();
        Assert.Equal(VsockFailure.InUse, Assert.Throws<VsockException>(() => EndPoint.Listen()).Reason);
        Assert.True(File.Exists(SocketFile));
    }

    [Fact]
    public async Task A_file_that_is_no_socket_is_left_alone()
    {
        await File.WriteAllTextAsync(SocketFile, "mine");
        Assert.Equal(VsockFailure.InUse, Assert.Throws<VsockException>(() => EndPoint.Listen()).Reason);
        Assert.Equal("mine", await File.ReadAllTextAsync(SocketFile));
    }

    [Fact]
    public async Task A_successors_file_is_left_alone()
    {
        var old = EndPoint.Listen();
        File.Delete(SocketFile);
        await using var successor = EndPoint.Listen();
        await old.DisposeAsync();
        Assert.True(File.Exists(SocketFile));
    }

    [Fact]
    public async Task A_cancelled_accept_takes_nothing()
    {
        await using var guest = new HybridSocket(_folder.File("v.sock"));
        await using var listener = EndPoint.Listen();
        using var cancelled = new CancellationTokenSource();
        var accept = listener.AcceptStreamAsync(cancelled.Token).AsTask();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => accept.Within());
        using var call = await guest.CallAsync(1026);
        Assert.NotNull(await listener.AcceptStreamAsync(default).Within());
    }

    [Fact]
    public void A_path_that_becomes_too_long_is_said_so() =>
        Assert.ThrowsAny<ArgumentException>(() => VsockEndPoint.Hybrid("/" + new string('x', 104), 1026).Listen());
}
