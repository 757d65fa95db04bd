using System.Globalization;
using Kuasar.EndToEnd.Tests.Pods;

namespace Kuasar.EndToEnd.Tests.Continuity;

public sealed class ContinuityNode(TestRun run) : OwnNode(run, "continuity")
{
    protected override bool Wanted => Settings.IsOurs && Run.HasProxyPlugins;

    protected override SandboxerPlan Plan => new() { LogLevel = "info" };
}

/// <summary>The sandboxer is killed or replaced behind its keeper, and containerd does not notice.</summary>
/// <remarks>KUASAR_CONTINUITY_ROUNDS and KUASAR_CONTINUITY_PODS make more of it: 200 rounds take about ten minutes.</remarks>
[Collection(FiftyPods.Name)]
public sealed class ContinuityTests(TestRun run, ContinuityNode own) : NodeTest(run, () => own.Node), IClassFixture<ContinuityNode>
{
    private static readonly int s_rounds = Number("KUASAR_CONTINUITY_ROUNDS", 10), s_pods = Number("KUASAR_CONTINUITY_PODS", 30);

    protected override string OursOnly => "it is about its sandboxer";

    protected override string? Unavailable => own.Run.HasProxyPlugins ? null : "containerd 1.7 has no proxy plugins for sandboxes";

    [Fact]
    public async Task A_killed_sandboxer_is_not_noticed()
    {
        await using var busy = await BusyNode.StartAsync(Node, s_pods, StartAsync);
        var random = new Random(20261128);
        for (var round = 0; round < s_rounds; round++)
        {
            await Task.Delay(random.Next(50, 1500));
            var sandboxer = Node.Sandboxer!.KeptProcessId;
            Libc.Signal(sandboxer, Libc.SIGKILL);
            await Within.UntilAsync(() => Node.Sandboxer.TryFindKept() is { } next && next != sandboxer, what: "the keeper starts the next one");
            await busy.AssertUnharmedAsync();
        }
        var pause = busy.TakePause();
        await busy.FinishAsync();
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"killed {s_rounds} times; {busy.Summary}; the longest State call took {pause.TotalMilliseconds:0} ms"));
    }

    private static int Number(string variable, int usual) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var number) ? number : usual;
}
