using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Sandboxes;

/// <summary>Calls that meet.</summary>
public sealed class SandboxRaceTests : IAsyncLifetime
{
    private SandboxBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await SandboxBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task Stop_during_Start_asks_the_author_not_to_go_on()
    {
        _bed.Sandboxer.OnStart = (_, token) => Task.Delay(Timeout.Infinite, token);
        await _bed.CreateAsync();
        var start = _bed.StartAsync("pod");
        await Within.Until(() => _bed.Sandboxer.Log.Contains("start pod"));
        var wait = await _bed.BeginWaitAsync();

        await _bed.StopAsync();

        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => start);
        await wait.InTime();
        Assert.Equal("dispose pod", _bed.Sandboxer.Log[^1]);
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async Task Stop_during_Start_stops_what_has_started_all_the_same()
    {
        var starting = new TaskCompletionSource();
        _bed.Sandboxer.OnStart = (_, _) => starting.Task;
        await _bed.CreateAsync();
        var start = _bed.StartAsync("pod");
        await Within.Until(() => _bed.Sandboxer.Log.Contains("start pod"));
        var stop = _bed.StopAsync();
        starting.SetResult();

        await start.InTime();
        await stop.InTime();

        Assert.Equal(["create pod", "start pod", "stop pod 0"], _bed.Sandboxer.Log);
        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Shutdown_during_Create_removes_what_comes_of_it(bool obeys)
    {
        var creating = new TaskCompletionSource();
        _bed.Sandboxer.OnCreate = _ => obeys ? Task.Delay(Timeout.Infinite, _bed.Sandboxer.CreateToken) : creating.Task;
        var create = _bed.CreateAsync();
        await Within.Until(() => _bed.Sandboxer.Log.Count == 1);
        await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreateAsync());
        var shutdown = _bed.ShutdownAsync();
        if (!obeys)
        {
            await Within.Until(() => _bed.Sandboxer.CreateToken.IsCancellationRequested);
            creating.SetResult();
            await create.InTime();
        }

        await shutdown.InTime();

        if (obeys)
        {
            await SandboxBed.Fails(StatusCode.FailedPrecondition, () => create);
        }
        Assert.Equal(obeys ? ["create pod"] : ["create pod", "dispose pod"], _bed.Sandboxer.Log);
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async Task An_end_that_comes_with_Start_is_seen()
    {
        _bed.Sandboxer.OnStart = (sandbox, _) =>
        {
            sandbox.End.SetResult(new ExitStatus(5, DateTimeOffset.UnixEpoch));
            return Task.CompletedTask;
        };
        await _bed.RunAsync();

        Assert.Equal(5u, (await _bed.WaitAsync()).ExitStatus);
        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
    }

    [Fact]
    public async Task Stops_and_shutdowns_at_once_are_one()
    {
        await _bed.RunAsync();
        await _bed.RunTaskAsync("c");

        await Task.WhenAll(
            Enumerable.Range(0, 10).SelectMany(i => new[] { i % 2 == 0 ? TolerantStopAsync() : _bed.ShutdownAsync(), EndAsync() })).InTime();

        Assert.Single(_bed.Sandboxer.Log, line => line == "dispose pod");
        Assert.True(_bed.Sandboxer.Log.Count(line => line == "stop pod 0") <= 1);
        await _bed.AssertGoneAsync();

        async Task TolerantStopAsync()
        {
            try
            {
                await _bed.StopAsync();
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
            {
                // Removed already.
            }
        }

        Task EndAsync()
        {
            _bed.Sandboxer.Last.End.TrySetResult(new ExitStatus(1, DateTimeOffset.UnixEpoch));
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task One_that_is_slow_holds_up_no_other()
    {
        var slow = new TaskCompletionSource();
        _bed.Sandboxer.OnCreate = spec => spec.Id == "slow" ? slow.Task : Task.CompletedTask;
        var create = _bed.CreateAsync("slow");
        await Within.Until(() => _bed.Sandboxer.Log.Contains("create slow"));

        await Task.WhenAll(Enumerable.Range(0, 50).Select(async i =>
        {
            var id = $"pod-{i}";
            await _bed.RunAsync(id);
            var wait = _bed.WaitAsync(id);
            await _bed.StopAsync(id);
            await wait;
            await _bed.ShutdownAsync(id);
        })).InTime();

        Assert.False(create.IsCompleted);
        slow.SetResult();
        await create.InTime();
        await _bed.ShutdownAsync("slow");
        Assert.Equal(51, _bed.Sandboxer.Log.Count(line => line.StartsWith("dispose ", StringComparison.Ordinal)));
        Assert.Empty(DomainPaths.IdFolders(_bed.Paths.Sandboxes));
    }

    [Fact]
    public async Task A_caller_that_gives_up_does_not_stop_the_stop()
    {
        await _bed.RunAsync();
        var stopping = new TaskCompletionSource();
        _bed.Sandboxer.OnStop = (_, _) => stopping.Task;
        using var patience = new CancellationTokenSource();
        var stop = _bed.Sandboxes.StopSandboxAsync(new() { SandboxId = "pod" }, cancellationToken: patience.Token).ResponseAsync;
        await Within.Until(() => _bed.Sandboxer.Log.Contains("stop pod 0"));
        await patience.CancelAsync();
        await SandboxBed.Fails(StatusCode.Cancelled, () => stop);
        var wait = await _bed.BeginWaitAsync();

        stopping.SetResult();

        await wait.InTime();
    }
}
