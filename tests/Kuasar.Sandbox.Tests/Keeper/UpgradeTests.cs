using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Support;
using Task = System.Threading.Tasks.Task;
using TaskClient = Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient;

namespace Kuasar.Sandbox.Tests.Keeper;

/// <summary>The planned replacement of the sandboxer and of the keeper, under load, and its undoing.</summary>
public sealed class UpgradeTests : IDisposable
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly KeeperBed _bed = new();

    public void Dispose() => _bed.Dispose();

    private Task<string> UpgradeAsync(string? binary, TimeSpan? deadline = null) =>
        Task.Run(() => KeeperClient.Upgrade(_bed.Run, binary, deadline ?? Deadline)).WaitAsync(TimeSpan.FromSeconds(60));

    private string KeeperBinary => File.ResolveLinkTarget($"/proc/{_bed.Keeper.ProcessId}/exe", returnFinalTarget: false)!.FullName;

    private static async Task<int> LoadAsync(TtrpcClient client, CancellationToken stop)
    {
        var tasks = new TaskClient(client);
        var calls = 0;
        for (; !stop.IsCancellationRequested; calls++)
        {
            await tasks.StateAsync(new StateRequest { Id = "load" }, cancellationToken: CancellationToken.None).ResponseAsync.InTime();
            await tasks.ExecAsync(new ExecProcessRequest { Id = "1" }, cancellationToken: CancellationToken.None).ResponseAsync.InTime();
            var stats = await tasks.StatsAsync(new StatsRequest { Id = "100000" }, cancellationToken: CancellationToken.None).ResponseAsync.InTime();
            Assert.Equal(100_000, stats.Stats.Value.Length);
        }
        return calls;
    }

    [Fact]
    public async Task Sandboxer_and_keeper_are_replaced_under_load_and_no_call_fails()
    {
        await using var client = await _bed.ConnectAsync();
        await using var second = await _bed.ConnectAsync();
        var tasks = new TaskClient(client);
        var gate = _bed.Fifo("gate");
        _bed.Script("one", $"read line < {gate}; exit 7");
        await tasks.StartAsync(new StartRequest { Id = "one" }).ResponseAsync.InTime();
        await tasks.PauseAsync(new PauseRequest { Id = "pipe" }).ResponseAsync.InTime();
        var wait = tasks.WaitAsync(new WaitRequest { Id = "one" }).ResponseAsync;
        using var stop = new CancellationTokenSource();
        Task<int>[] load = [LoadAsync(client, stop.Token), LoadAsync(client, stop.Token), LoadAsync(second, stop.Token)];

        var first = await UpgradeAsync(KeeperBed.Binary("v2"));
        var state = await KeeperBed.StateAsync(client);
        Assert.Equal("v2", state.Id);
        Assert.EndsWith("-v2", KeeperBinary, StringComparison.Ordinal);
        var again = await UpgradeAsync(KeeperBed.Binary("v3"));

        Assert.Contains("v1 -> v2, pause", first, StringComparison.Ordinal);
        Assert.Contains("keeper replaced", first, StringComparison.Ordinal);
        Assert.Contains("v2 -> v3, pause", again, StringComparison.Ordinal);
        Assert.Equal("v3", (await KeeperBed.StateAsync(client)).Id);
        Assert.EndsWith("-v3", KeeperBinary, StringComparison.Ordinal);
        Assert.False(_bed.Keeper.Exited.IsCompleted);
        await stop.CancelAsync();
        await Task.WhenAll(load).InTime();
        await File.WriteAllTextAsync(gate, "go\n");
        Assert.Equal(7u, (await wait.InTime()).ExitStatus);
        await tasks.ResumeAsync(new ResumeRequest { Id = "pipe" }).ResponseAsync.InTime();
        Assert.Equal((2, 0), (_bed.StatusOf("keeper-upgrades"), _bed.StatusOf("restarts")));
    }

    [Fact]
    public async Task A_replaced_keeper_supervises_on_and_reaps_on()
    {
        await using var client = await _bed.ConnectAsync();
        await UpgradeAsync(KeeperBed.Binary("v2"));
        var pid = await KeeperBed.SandboxerAsync(client);
        var tasks = new TaskClient(client);
        var gate = _bed.Fifo("gate");
        _bed.Script("one", $"read line < {gate}; exit 9");
        await tasks.StartAsync(new StartRequest { Id = "one" }).ResponseAsync.InTime();
        var wait = tasks.WaitAsync(new WaitRequest { Id = "one" }).ResponseAsync;

        KeeperBed.Kill(pid);
        await File.WriteAllTextAsync(gate, "go\n");

        Assert.Equal(9u, (await wait.InTime()).ExitStatus);
        var state = await KeeperBed.StateAsync(client);
        Assert.Equal("v2", state.Id);
        Assert.NotEqual(pid, (int)state.Pid);
    }

    [Theory]
    [InlineData("crash", "ended with status 3")]
    [InlineData("mute", "did not start within the deadline")]
    [InlineData("hang", "rolled back to v1")]
    public async Task One_that_does_not_come_to_serve_is_undone(string version, string reason)
    {
        await using var client = await _bed.ConnectAsync();
        using var stop = new CancellationTokenSource();
        var load = LoadAsync(client, stop.Token);

        var error = await Within.Fails(SandboxError.FailedPrecondition, () => UpgradeAsync(KeeperBed.Binary(version), TimeSpan.FromSeconds(2)));

        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.Equal("v1", (await KeeperBed.StateAsync(client)).Id);
        await stop.CancelAsync();
        await load.InTime();
        Assert.EndsWith("-v1", KeeperBinary, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_is_not_there_changes_nothing()
    {
        await using var client = await _bed.ConnectAsync();
        var error = await Within.Fails(SandboxError.FailedPrecondition, () => UpgradeAsync("/nonexistent"));
        Assert.Contains("/nonexistent", error.Message, StringComparison.Ordinal);
        Assert.Equal("v1", (await KeeperBed.StateAsync(client)).Id);
    }

    [Fact]
    public async Task An_act_that_takes_its_time_is_waited_for()
    {
        await using var client = await _bed.ConnectAsync();
        var act = new TaskClient(client).ExecAsync(new ExecProcessRequest { Id = "1500" }).ResponseAsync;
        await Within.Until(() => _bed.Acts.Length == 1, "the act has begun");

        await UpgradeAsync(KeeperBed.Binary("v2"));

        await act.InTime();
        Assert.Single(_bed.Acts);
    }

    [Fact]
    public async Task Nobody_answers_where_no_keeper_is() =>
        await Within.Fails(SandboxError.Unavailable, () => Task.Run(() => KeeperClient.Status("/nonexistent")));
}
