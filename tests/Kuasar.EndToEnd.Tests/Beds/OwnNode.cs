namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>A node for the tests of one class, which do to it what others could not bear.</summary>
public abstract class OwnNode(TestRun run, string name) : IAsyncLifetime
{
    private Node? _node;

    public TestRun Run => run;

    public Node Node => _node ?? throw new InvalidOperationException("there is no node");

    public async ValueTask InitializeAsync()
    {
        if (run.IsUp && Wanted)
        {
            _node = await run.StartNodeAsync(name, Other, Plan);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_node is not null)
        {
            var problems = await _node.StopAsync();
            Assert.True(problems.Count == 0, $"left on node {name}:\n{string.Join('\n', problems)}");
        }
    }

    /// <summary>Whose sandboxer serves this node; null for one of its own.</summary>
    protected virtual Node? Other => null;

    /// <summary>What serves this node; null for the usual.</summary>
    protected virtual SandboxerPlan? Plan => null;

    /// <summary>Whether the tests run with this runtime.</summary>
    protected virtual bool Wanted => true;
}
