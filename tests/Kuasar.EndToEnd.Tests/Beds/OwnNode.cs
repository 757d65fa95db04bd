namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>A node for the tests of one class, which do to it what others could not bear.</summary>
public abstract class OwnNode(TestRun run, string name) : IAsyncLifetime
{
    private Node? _node;

    public TestRun Run => run;

    public Node Node => _node ?? throw new InvalidOperationException("there is no node");

    public async ValueTask InitializeAsync()
    {
        if (run.IsUp && Missing is null)
        {
            _node = await run.StartNodeAsync(name, Other, Plan);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_node is not null)
        {
            await StoppingAsync();
            var problems = await _node.StopAsync();
            Assert.True(problems.Count == 0, $"left on node {name}:\n{string.Join('\n', problems)}");
        }
    }

    /// <summary>Whose sandboxer serves this node; null for one of its own.</summary>
    protected virtual Node? Other => null;

    /// <summary>What serves this node; null for the usual.</summary>
    protected virtual SandboxerPlan? Plan => null;

    /// <summary>Why there is no such node here; null when there is. Asked when there is a main node.</summary>
    internal virtual string? Missing => null;

    /// <summary>Who asks containerd for the containers of its tests.</summary>
    internal virtual ContainerdClient Client => Node.Client;

    /// <summary>Where containers are made on it, if not simply there.</summary>
    internal virtual Task<ContainerPlan> PlaceAsync(ContainerPlan plan) => Task.FromResult(plan);

    /// <summary>What else has been written of what happened on it.</summary>
    internal virtual IEnumerable<string> Logs => [];

    /// <summary>What the node itself has made on it goes.</summary>
    protected virtual Task StoppingAsync() => Task.CompletedTask;

    private protected static string? OursOnly => Settings.IsOurs ? null : $"only with {Settings.OurRuntime}";

    private protected string? ProxyPluginsOnly => run.HasProxyPlugins ? null : "containerd 1.7 has no proxy plugins for sandboxes";
}
