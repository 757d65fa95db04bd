using System.Net.Sockets;
using Grpc.Core;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Support;
using Task = System.Threading.Tasks.Task;
using TaskClient = Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient;

namespace Kuasar.Sandbox.Tests.Keeper;

/// <summary>kill -9 of the sandboxer, which a client must not notice.</summary>
public sealed class SandboxerDeathTests : IDisposable
{
    private readonly KeeperBed _bed = new();

    public void Dispose() => _bed.Dispose();

    [Fact]
    public async Task A_connection_outlives_three_sandboxers()
    {
        await using var client = await _bed.ConnectAsync();
        HashSet<int> pids = [];
        for (var i = 0; i < 3; i++)
        {
            var pid = await KeeperBed.SandboxerAsync(client);
            Assert.True(pids.Add(pid));
            KeeperBed.Kill(pid);
        }
        Assert.True(pids.Add(await KeeperBed.SandboxerAsync(client)));
        Assert.Equal(3, _bed.StatusOf("restarts"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(42)]
    [InlineData(255)]
    public async Task A_pending_Wait_is_asked_again_and_tells_the_true_code_of_a_process_that_ended_meanwhile(int code)
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        var gate = _bed.Fifo("gate");
        _bed.Script("one", $"read line < {gate}; exit {code}");
        await tasks.StartAsync(new StartRequest { Id = "one" }).ResponseAsync.InTime();
        var wait = tasks.WaitAsync(new WaitRequest { Id = "one" }).ResponseAsync;
        var pid = await KeeperBed.SandboxerAsync(client);

        KeeperBed.Kill(pid);
        await File.WriteAllTextAsync(gate, "go\n");

        Assert.Equal((uint)code, (await wait.InTime()).ExitStatus);
        Assert.NotEqual(pid, await KeeperBed.SandboxerAsync(client));
    }

    [Fact]
    public async Task A_process_that_ended_before_anyone_heard_of_its_pid_has_its_true_code()
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        for (var i = 0; i < 10; i++)
        {
            // Long enough for its parent, a shell, not to reap it.
            _bed.Script($"short{i}", $"sleep 0.1; exit {i}");
            await tasks.StartAsync(new StartRequest { Id = $"short{i}" }).ResponseAsync.InTime();
            Assert.Equal((uint)i, (await tasks.WaitAsync(new WaitRequest { Id = $"short{i}" }).ResponseAsync.InTime()).ExitStatus);
        }
    }

    /// <summary>Its other end reads an end then, and no error, whatever it had sent.</summary>
    [Fact]
    public async Task A_connection_that_is_held_breaks_off_with_none_of_the_sandboxers()
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var path = Path.Combine(_bed.Run, "peer.sock");
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        await tasks.CloseIOAsync(new CloseIORequest { Id = path }).ResponseAsync.InTime();
        using var peer = await listener.AcceptAsync().InTime();
        var end = peer.ReceiveAsync(new byte[1]);

        await _bed.KillSandboxerAsync(client);
        await KeeperBed.SandboxerAsync(client);
        Assert.False(end.IsCompleted);
        Assert.Equal(2, await peer.SendAsync("OK"u8.ToArray()).InTime());
        await tasks.ResizePtyAsync(new ResizePtyRequest()).ResponseAsync.InTime();
        Assert.Equal(0, await end.InTime());
    }

    [Fact]
    public async Task An_act_in_hand_is_answered_Unavailable_and_not_done_twice()
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        var pid = await KeeperBed.SandboxerAsync(client);
        var exec = tasks.ExecAsync(new ExecProcessRequest { Id = "60000" }).ResponseAsync;
        await Within.Until(() => _bed.Acts.Length == 1, "the act has begun");

        KeeperBed.Kill(pid);

        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<RpcException>(() => exec.InTime())).StatusCode);
        Assert.NotEqual(pid, await KeeperBed.SandboxerAsync(client));
        Assert.Equal(["60000"], _bed.Acts);
    }

    [Fact]
    public async Task A_Create_in_hand_is_begun_anew_by_the_next()
    {
        await using var client = await _bed.ConnectAsync();
        var pid = await KeeperBed.SandboxerAsync(client);
        var create = new TaskClient(client).CreateAsync(new CreateTaskRequest { Id = "one" }).ResponseAsync;
        await Within.Until(() => _bed.Acts.Length == 1, "the act has begun");

        KeeperBed.Kill(pid);

        Assert.NotEqual(pid, (int)(await create.InTime()).Pid);
        Assert.Equal(["one", "one again"], _bed.Acts);
    }

    [Fact]
    public async Task Calls_that_come_while_there_is_no_sandboxer_wait_for_one()
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        for (var round = 0; round < 5; round++)
        {
            await _bed.KillSandboxerAsync(client);
            var calls = Enumerable.Range(0, 50).Select(_ => tasks.StateAsync(new StateRequest()).ResponseAsync).ToArray();
            await tasks.ExecAsync(new ExecProcessRequest { Id = "0" }).ResponseAsync.InTime();
            await Task.WhenAll(calls).InTime();
        }
        Assert.Equal(5, _bed.Acts.Length);
    }

    [Fact]
    public async Task Kept_handles_are_found_by_the_next_sandboxer()
    {
        await using var client = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        await tasks.PauseAsync(new PauseRequest { Id = "pipe" }).ResponseAsync.InTime();
        Assert.Equal(2, _bed.StatusOf("handles"));

        await _bed.KillSandboxerAsync(client);

        await tasks.ResumeAsync(new ResumeRequest { Id = "pipe" }).ResponseAsync.InTime();
    }

    [Fact]
    public async Task One_that_never_served_ends_the_keeper_with_its_code()
    {
        using var bed = new KeeperBed(KeeperBed.Binary("crash"));
        Assert.Equal(3u, (await bed.Keeper.Exited.InTime()).Code);
    }

    [Fact]
    public async Task One_that_dies_again_and_again_is_started_more_slowly_and_clients_wait()
    {
        await using var client = await _bed.ConnectAsync();
        var pid = await KeeperBed.SandboxerAsync(client);
        await File.WriteAllTextAsync(Path.Combine(_bed.Run, "crash"), "");
        KeeperBed.Kill(pid);
        var state = KeeperBed.StateAsync(client);
        await Within.Until(() => _bed.StatusOf("restarts") >= 3, "three deaths");
        File.Delete(Path.Combine(_bed.Run, "crash"));

        Assert.NotEqual(pid, (int)(await state).Pid);
    }
}
