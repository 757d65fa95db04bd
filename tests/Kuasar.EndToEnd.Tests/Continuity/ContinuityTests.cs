using System.Globalization;
using System.Text.RegularExpressions;
using Kuasar.EndToEnd.Tests.Pods;

namespace Kuasar.EndToEnd.Tests.Continuity;

public sealed class ContinuityNode(TestRun run) : OwnNode(run, "continuity")
{
    internal override string? Missing => OursOnly ?? ProxyPluginsOnly;

    protected override SandboxerPlan Plan => new() { LogLevel = "info" };
}

/// <summary>The sandboxer is killed or replaced behind its keeper, and containerd does not notice.</summary>
/// <remarks>KUASAR_CONTINUITY_ROUNDS and KUASAR_CONTINUITY_PODS make more of it: 200 rounds take about ten minutes.</remarks>
[Collection(FiftyPods.Name)]
public sealed class ContinuityTests(TestRun run, ContinuityNode own) : NodeTest(run, own), IClassFixture<ContinuityNode>
{
    private static readonly int s_rounds = Number("KUASAR_CONTINUITY_ROUNDS", 10), s_pods = Number("KUASAR_CONTINUITY_PODS", 30);

    protected override string OursOnly => "it is about its sandboxer";

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
            await Within.UntilAsync(() => Node.Sandboxer!.TryFindKept() is { } next && next != sandboxer, what: "the keeper starts the next one");
            await busy.AssertUnharmedAsync();
        }
        var pause = busy.TakePause();
        await busy.FinishAsync();
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"killed {s_rounds} times; {busy.Summary}; the longest State call took {pause.TotalMilliseconds:0} ms"));
    }

    [Fact]
    public async Task An_upgrade_is_not_noticed_and_no_call_fails()
    {
        await using var busy = await BusyNode.StartAsync(Node, s_pods, StartAsync);
        busy.MayBeUnavailable = false;
        var (keeper, pauses, calls) = (Node.Sandboxer!.ProcessId, new List<double>(), new List<double>());
        var (first, other) = ((Node.Program, Publication.Version), (Publication.OtherSandboxer(own.Run.Binaries), Publication.OtherVersion));
        busy.TakePause();
        for (var round = 0; round < s_rounds; round++)
        {
            var sandboxer = Node.Sandboxer!.KeptProcessId;
            var ((_, from), (next, to)) = round % 2 == 0 ? (first, other) : (other, first);
            var (code, output) = await Commands.TryAsync(
                Node.Program, ["upgrade", "--run-dir", Node.RunDirectory, "--binary", next], null, TimeSpan.FromSeconds(60));
            Assert.True(code == 0, output);
            var pause = Regex.Match(output, $@"sandboxer {Regex.Escape(from)} -> {Regex.Escape(to)}, pause ([0-9.]+) ms");
            Assert.True(pause.Success, output);
            pauses.Add(double.Parse(pause.Groups[1].Value, CultureInfo.InvariantCulture));
            Assert.Equal(keeper, Node.Sandboxer!.ProcessId);
            Assert.Equal((next, next), (Proc.Program(keeper), Proc.Program(Node.Sandboxer!.KeptProcessId)));
            Assert.NotEqual(sandboxer, Node.Sandboxer!.KeptProcessId);
            await busy.AssertUnharmedAsync();
            calls.Add(busy.TakePause().TotalMilliseconds);
        }
        await busy.FinishAsync();
        pauses.Sort();
        calls.Sort();
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"upgraded {s_rounds} times; {busy.Summary}; ms at the median and at most: the pause {pauses[pauses.Count / 2]:0} and {pauses[^1]:0}, the longest State call {calls[calls.Count / 2]:0} and {calls[^1]:0}"));
    }

    [Fact]
    public async Task A_binary_that_does_not_serve_is_rolled_back()
    {
        await using var busy = await BusyNode.StartAsync(Node, 3, StartAsync);
        busy.MayBeUnavailable = false;
        var bad = Path.Combine(Node.Bed.Folder, "bin/kuasar-runc-sandboxer.bad");
        await File.WriteAllTextAsync(bad, "#!/bin/sh\nexit 3\n");
        File.SetUnixFileMode(bad, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        var before = Proc.Program(Node.Sandboxer!.ProcessId);
        var (code, output) = await Commands.TryAsync(
            Node.Program, ["upgrade", "--run-dir", Node.RunDirectory, "--binary", bad, "--deadline", "5"], null, TimeSpan.FromSeconds(60));
        Assert.NotEqual(0, code);
        Assert.NotEmpty(output);
        Assert.Equal((before, before), (Proc.Program(Node.Sandboxer!.ProcessId), Proc.Program(Node.Sandboxer!.KeptProcessId)));
        await busy.FinishAsync();
    }

    [Fact]
    public async Task Keeper_sandboxer_and_containerd_killed_together_come_back_to_what_lives()
    {
        var container = await StartAsync("sh", "-c", "trap 'echo bye; exit 9' TERM; echo hello; while :; do sleep 0.1; done");
        await container.Init.Output.UntilAsync("hello\n");
        await Node.Bed.StopAsync("KILL");
        var sandboxer = Node.Sandboxer!.KeptProcessId;
        await Node.Sandboxer!.KillAsync();
        // It does not outlive its keeper.
        await Within.UntilAsync(() => !Proc.Runs(sandboxer));
        await Node.StartSandboxerAsync();
        await Node.Bed.StartAsync();
        await Node.ReopenEventsAsync();

        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
        await container.Init.KillAsync(15);
        Assert.Equal(9u, (await container.Init.WaitAsync()).ExitStatus);
        Assert.Equal("hello\nbye\n", await container.Init.Output.ToEndAsync());
        Assert.Equal(9u, (await container.DeleteTaskAsync()).ExitStatus);
    }

    private static int Number(string variable, int usual) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var number) ? number : usual;
}
