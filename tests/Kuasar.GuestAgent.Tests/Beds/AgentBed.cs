using Kuasar.Protocol;

[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>An agent that runs, with a folder that both sides see. One for the tests of a class.</summary>
public abstract class AgentBed : IAsyncLifetime
{
    private int _last;

    /// <summary>Why its tests cannot run here; null when they can.</summary>
    internal string? Reason { get; private protected set; }

    /// <summary>Whether the agent has a machine to itself.</summary>
    internal abstract bool IsMachine { get; }

    /// <summary>The folder, as this side sees it.</summary>
    internal abstract string Share { get; }

    /// <summary>The folder, as the agent sees it.</summary>
    internal abstract string ShareInAgent { get; }

    /// <summary>What is in the stdio strings before the stream's id.</summary>
    internal static string StreamUrl(string id) => $"ttrpc+hvsock:///run/somewhere/task.vsock:1024?streaming_id={id}";

    /// <summary>A fresh connection to the agent.</summary>
    internal abstract ValueTask<Stream> DialAsync(CancellationToken cancellationToken);

    internal async Task<AgentClient> OpenAsync()
    {
        Assert.SkipWhen(Reason is not null, Reason ?? "");
        return new AgentClient(this, Connection.FromStream(await DialAsync(CancellationToken.None)));
    }

    /// <summary>An identifier that no other test of this bed has.</summary>
    internal string NewId(string name) => $"{name}-{Interlocked.Increment(ref _last)}";

    public abstract ValueTask InitializeAsync();

    public abstract ValueTask DisposeAsync();
}
