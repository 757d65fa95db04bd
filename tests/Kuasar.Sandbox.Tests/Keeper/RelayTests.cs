using System.Net.Sockets;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tests.Support;
using Task = System.Threading.Tasks.Task;
using TaskClient = Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient;

namespace Kuasar.Sandbox.Tests.Keeper;

/// <summary>Frames through the keeper.</summary>
public sealed class RelayTests : IDisposable
{
    private readonly KeeperBed _bed = new();

    public void Dispose() => _bed.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(64 * 1024)]
    [InlineData((4 << 20) - 100)]
    public async Task Messages_of_any_size_pass_both_ways(int size)
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);

        await tasks.UpdateAsync(new UpdateTaskRequest { Resources = new Any { Value = ByteString.CopyFrom(new byte[size]) } }).ResponseAsync.InTime();
        var stats = await tasks.StatsAsync(new StatsRequest { Id = $"{size}" }).ResponseAsync.InTime();

        Assert.Equal(size, stats.Stats.Value.Length);
        await Within.Until(() => _bed.StatusOf("bytes") == 0, "nothing is held any more");
    }

    [Fact]
    public async Task A_message_that_is_too_large_fails_alone()
    {
        await using var client = await TtrpcClient.ConnectAsync(await ReadyAsync(), new TtrpcClientOptions { MaxMessageSize = 8 << 20 });
        var tasks = new TaskClient(client);
        var large = new UpdateTaskRequest { Resources = new Any { Value = ByteString.CopyFrom(new byte[5 << 20]) } };

        var error = await Assert.ThrowsAsync<RpcException>(() => tasks.UpdateAsync(large).ResponseAsync.InTime());

        Assert.Equal(StatusCode.ResourceExhausted, error.StatusCode);
        await KeeperBed.StateAsync(client);
    }

    [Fact]
    public async Task Many_calls_at_once_have_each_their_own_answer()
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        var calls = Enumerable.Range(0, 500).Select(i => tasks.StatsAsync(new StatsRequest { Id = $"{i * 100}" }).ResponseAsync).ToArray();

        var sizes = (await Task.WhenAll(calls).InTime()).Select(answer => answer.Stats.Value.Length);

        Assert.Equal(Enumerable.Range(0, 500).Select(i => i * 100), sizes);
    }

    [Fact]
    public async Task Rude_clients_hurt_nobody()
    {
        var socket = await ReadyAsync();
        await using var client = await TtrpcClient.ConnectAsync(socket);
        using var garbage = Connect(socket);
        garbage.Send("GET / HTTP/1.1\r\n\r\n"u8);
        using var half = Connect(socket);
        half.Send([0, 0x30, 0, 0, 0, 0, 0, 1, 1, 0, 1, 2, 3]);
        using var deaf = Connect(socket);
        Ask(deaf, count: 20_000);

        await KeeperBed.StateAsync(client);
        Assert.Equal(0, garbage.Receive(new byte[1]));
        // What the deaf one does not take waits nowhere without a bound.
        await Within.Until(() => _bed.StatusOf("bytes") is > 0 and < 4 << 20, "it is held up");
        await KeeperBed.StateAsync(client);
    }

    [Fact]
    public async Task What_waits_for_a_sandboxer_has_a_bound()
    {
        var socket = await ReadyAsync();
        await using (var client = await TtrpcClient.ConnectAsync(socket))
        {
            await File.WriteAllTextAsync(Path.Combine(_bed.Run, "crash"), "");
            KeeperBed.Kill(await KeeperBed.SandboxerAsync(client));
        }
        await Within.Until(() => _bed.StatusOf("sandboxer") == 0, "no sandboxer");
        using var asker = Connect(socket);
        asker.SendTimeout = 200;
        Ask(asker, count: 500_000);

        Assert.InRange(_bed.StatusOf("bytes"), 1, 4 << 20);
    }

    // State requests without end; nobody reads the answers.
    private static void Ask(Socket socket, int count)
    {
        socket.SendTimeout = 500;
        byte[] body = [0x0A, 23, .. "containerd.task.v3.Task"u8, 0x12, 5, .. "State"u8];
        try
        {
            for (uint i = 0; i < count; i++)
            {
                var id = (i * 2) + 1;
                socket.Send([0, 0, 0, (byte)body.Length, (byte)(id >> 24), (byte)(id >> 16), (byte)(id >> 8), (byte)id, 1, 0, .. body]);
            }
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock or SocketError.Shutdown)
        {
            // It is no longer read.
        }
    }

    private static Socket Connect(string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 20_000 };
        socket.Connect(new UnixDomainSocketEndPoint(path));
        return socket;
    }

    private async Task<string> ReadyAsync()
    {
        await _bed.ServesAsync();
        return _bed.Socket;
    }

    [Fact]
    public async Task SIGTERM_ends_both_and_leaves_no_socket()
    {
        await using var client = await _bed.ConnectAsync();
        var sandboxer = await KeeperBed.SandboxerAsync(client);
        _bed.Keeper.Signal(Libc.SIGTERM);

        Assert.Equal(0u, (await _bed.Keeper.Exited.InTime()).Code);
        Assert.False(Directory.Exists($"/proc/{sandboxer}"));
        Assert.False(File.Exists(_bed.Socket));
    }

    [Fact]
    public async Task A_sandboxer_ends_with_its_keeper()
    {
        await using var client = await _bed.ConnectAsync();
        var sandboxer = await KeeperBed.SandboxerAsync(client);
        _bed.Keeper.Signal(Libc.SIGKILL);

        await Within.Until(() => !Directory.Exists($"/proc/{sandboxer}") || Procfs.IsZombie(sandboxer), "the sandboxer is gone");
    }
}
