namespace Kuasar.EndToEnd.Tests.Domain;

/// <summary>Containers of the same id that have nothing to do with each other.</summary>
public sealed class NamespaceTests(TestRun run) : NodeTest(run)
{
    [Fact]
    public async Task Two_namespaces_have_the_same_ids_at_the_same_time()
    {
        using var client = new ContainerdClient(Node.Bed.Socket, "k8s.io");
        var plan = new ContainerPlan { Id = TestContainer.NewId("same") };
        var one = await NewAsync(plan, "sh", "-c", "echo one; sleep 3600");
        await using var other = await TestContainer.NewAsync(Node, client, plan, "sh", "-c", "echo other; sleep 3600");
        await SameIdTwice.CheckAsync(one, other);
        Assert.Equal(["create", "start", "exec-added", "exec-started", "exit", "exit"], Events.Of(one.Id, "k8s.io").Select(e => e.Name).Take(6));
    }
}

/// <summary>Two tasks of one id, somewhere: each is its own.</summary>
internal static class SameIdTwice
{
    internal static async Task CheckAsync(TestContainer one, TestContainer other)
    {
        await Task.WhenAll(one.CreateAsync(), other.CreateAsync());
        await Task.WhenAll(one.Init.StartAsync(), other.Init.StartAsync());
        await one.Init.Output.UntilAsync("one\n");
        await other.Init.Output.UntilAsync("other\n");
        Assert.NotEqual(one.Pid, other.Pid);
        var execs = await Task.WhenAll(one.ExecAsync("e", "sh", "-c", "exit 1"), other.ExecAsync("e", "sh", "-c", "exit 2"));
        Assert.Equal(1u, (await execs[0].WaitAsync()).ExitStatus);
        Assert.Equal(2u, (await execs[1].WaitAsync()).ExitStatus);

        await other.EndAsync();
        Assert.Equal(ProcessStatus.Running, (await one.Init.StateAsync()).Status);
        Assert.Equal(("fine\n", 0u), await one.RunAsync("echo", "fine"));
        await FailsWithNotFoundAsync(other);
        await one.EndAsync();
    }

    private static async Task FailsWithNotFoundAsync(TestContainer container) =>
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<Grpc.Core.RpcException>(() => container.Init.StateAsync())).StatusCode);
}
