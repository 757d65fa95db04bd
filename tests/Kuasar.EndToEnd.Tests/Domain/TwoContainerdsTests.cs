namespace Kuasar.EndToEnd.Tests.Domain;

/// <summary>A second containerd, served by the first one's sandboxer.</summary>
public sealed class SecondNode(TestRun run) : OwnNode(run, "second")
{
    protected override Node? Other => Run.Main;
}

/// <summary>Two containerds on one sandboxer.</summary>
public sealed class TwoContainerdsTests(TestRun run, SecondNode second) : NodeTest(run), IClassFixture<SecondNode>
{
    [Fact]
    public async Task Two_containerds_have_the_same_namespaces_and_ids_at_the_same_time()
    {
        var plan = new ContainerPlan { Id = TestContainer.NewId("same") };
        var one = await NewAsync(plan, "sh", "-c", "echo one; sleep 3600");
        await using var other = await TestContainer.NewAsync(second.Node, second.Node.Client, plan, "sh", "-c", "echo other; sleep 3600");
        await SameIdTwice.CheckAsync(one, other);
    }

    [Fact]
    public async Task Each_containerd_gets_its_own_events_alone()
    {
        var plan = new ContainerPlan { Id = TestContainer.NewId("same") };
        var one = await NewAsync(plan, "sh", "-c", "exit 1");
        await using var other = await TestContainer.NewAsync(second.Node, second.Node.Client, plan, "sh", "-c", "exit 2");
        await RunAsync(one);
        await RunAsync(other);
        foreach (var (events, code) in ((EventLog, uint)[])[(Events, 1), (second.Node.Events, 2)])
        {
            var exit = (Protocol.Contracts.Events.TaskExit)(await events.UntilAsync(plan.Id!, "exit")).Message;
            Assert.Equal(code, exit.ExitStatus);
            Assert.Single(events.Of(plan.Id!), e => e.Name == "exit");
        }

        static async Task RunAsync(TestContainer container)
        {
            await container.CreateAsync();
            await container.Init.StartAsync();
            await container.Init.WaitAsync();
            await container.DeleteTaskAsync();
        }
    }

    [Fact]
    public async Task One_that_stops_does_not_disturb_the_other()
    {
        var idle = await StartIdleAsync();
        await using var away = await TestContainer.NewAsync(second.Node, second.Node.Client, new ContainerPlan(), "sleep", "3600");
        await away.CreateAsync();
        await away.Init.StartAsync();
        await second.Node.Bed.StopAsync("KILL");
        Assert.Equal(("fine\n", 0u), await idle.RunAsync("echo", "fine"));
        await second.Node.Bed.StartAsync();
        await second.Node.ReopenEventsAsync();
        Assert.Equal(("fine\n", 0u), await away.RunAsync("echo", "fine"));
        await away.EndAsync();
    }
}
