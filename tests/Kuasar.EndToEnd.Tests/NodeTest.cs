using Grpc.Core;

namespace Kuasar.EndToEnd.Tests;

/// <summary>What tests on a node share. Each makes its own containers, which go when it ends.</summary>
public abstract class NodeTest(TestRun run, OwnNode? own = null) : IAsyncLifetime
{
    private readonly System.Collections.Concurrent.ConcurrentQueue<TestContainer> _containers = [];

    internal Node Node => own?.Node ?? run.Main;

    internal EventLog Events => Node.Events;

    /// <summary>For tests of what the stock runtime does not have or does otherwise: why.</summary>
    protected virtual string? OursOnly => null;

    public virtual ValueTask InitializeAsync()
    {
        run.Require();
        Assert.SkipWhen(!Settings.IsOurs && OursOnly is not null, $"only with {Settings.OurRuntime}: {OursOnly}");
        Assert.SkipWhen(own?.Missing is not null, own?.Missing ?? "");
        return ValueTask.CompletedTask;
    }

    public virtual async ValueTask DisposeAsync()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed && run.IsUp)
        {
            ShowLogs();
        }
        foreach (var container in _containers.Reverse())
        {
            await container.DisposeAsync();
        }
    }

    /// <summary>A container without a task.</summary>
    internal async Task<TestContainer> NewAsync(ContainerPlan plan, params string[] arguments)
    {
        var container = own is null
            ? await TestContainer.NewAsync(Node, Node.Client, plan, arguments)
            : await TestContainer.NewAsync(Node, own.Client, await own.PlaceAsync(plan), arguments);
        _containers.Enqueue(container);
        return container;
    }

    /// <summary>A container with a created task.</summary>
    internal async Task<TestContainer> CreateAsync(ContainerPlan plan, params string[] arguments)
    {
        var container = await NewAsync(plan, arguments);
        await container.CreateAsync();
        return container;
    }

    /// <summary>A container whose task runs.</summary>
    internal async Task<TestContainer> StartAsync(ContainerPlan plan, params string[] arguments)
    {
        var container = await CreateAsync(plan, arguments);
        await container.Init.StartAsync();
        return container;
    }

    internal Task<TestContainer> StartAsync(params string[] arguments) => StartAsync(new ContainerPlan(), arguments);

    /// <summary>A container with nothing to do but to live.</summary>
    internal Task<TestContainer> StartIdleAsync() => StartAsync("sleep", "3600");

    /// <summary>To be cleared away with this test.</summary>
    internal void Keep(TestContainer container) => _containers.Enqueue(container);

    /// <summary>The call must fail with this status.</summary>
    internal static async Task<RpcException> FailsAsync(StatusCode expected, Func<Task> call)
    {
        var error = await Assert.ThrowsAsync<RpcException>(call);
        Assert.True(expected == error.StatusCode, $"expected {expected}, not {error.Status}");
        return error;
    }

    /// <summary>All events of a container that has been deleted.</summary>
    internal async Task<IReadOnlyList<TaskEvent>> EventsToDeleteAsync(TestContainer container)
    {
        try
        {
            await Events.UntilAsync(container.Id, "delete");
        }
        catch (TimeoutException) when (!Settings.IsOurs)
        {
            Assert.Skip("the stock runtime has lost its delete event, as it may: it ends while it publishes");
        }
        return Events.Of(container.Id);
    }

    private void ShowLogs()
    {
        var ids = _containers.Select(c => c.Id).ToList();
        var output = TestContext.Current.TestOutputHelper;
        output?.WriteLine(LogTail.Of(Node.SandboxerLog, 40, Mine));
        output?.WriteLine(LogTail.Of(Node.Bed.Log, 20, Mine));
        foreach (var log in own?.Logs ?? [])
        {
            output?.WriteLine(LogTail.Of(log, 100));
        }

        bool Mine(string line) => ids.Count == 0 || ids.Exists(id => line.Contains(id, StringComparison.Ordinal));
    }
}
