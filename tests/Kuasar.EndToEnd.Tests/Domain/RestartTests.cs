namespace Kuasar.EndToEnd.Tests.Domain;

public sealed class RestartNode(TestRun run) : OwnNode(run, "restart");

/// <summary>containerd goes away and comes back while tasks run.</summary>
public sealed class RestartTests(TestRun run, RestartNode own) : NodeTest(run, own), IClassFixture<RestartNode>
{
    // Answers each line; "end" ends it.
    private const string Script = "while read -r line; do echo \"got $line\"; [ \"$line\" = end ] && exit 9; done";

    [Theory]
    [InlineData("TERM")]
    [InlineData("KILL")]
    public async Task A_task_goes_on_as_if_nothing_had_been(string signal)
    {
        var container = await StartAsync(new ContainerPlan { Stdin = true }, "sh", "-c", Script);
        var exec = await container.AddExecAsync("e", new ExecPlan(Stdin: true), "sh", "-c", Script);
        await exec.StartAsync();
        await WriteAsync(container.Init, "one\n");
        await container.Init.Output.UntilAsync("got one\n");

        await Node.Bed.StopAsync(signal);
        // A client's fifos go with it; what is written meanwhile is there for the next one.
        await container.Init.Output.DisposeAsync();
        await WriteAsync(container.Init, "two\n");
        await WriteAsync(exec, "two\n");
        await exec.Output.UntilAsync("got two\n");
        await StartAgainAsync();

        var state = await container.Init.StateAsync();
        Assert.Equal((ProcessStatus.Running, container.Pid, container.Init.Stdout), (state.Status, state.Pid, state.Stdout));
        var reattached = container.Init.Reader();
        await reattached.UntilAsync("got two\n");
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
        var wait = container.Init.WaitAsync();
        await WriteAsync(exec, "end\n");
        Assert.Equal(9u, (await exec.WaitAsync()).ExitStatus);
        await WriteAsync(container.Init, "end\n");
        Assert.Equal(9u, (await wait).ExitStatus);
        Assert.Equal("got two\ngot end\n", await reattached.ToEndAsync());
        Assert.Equal(9u, (await container.DeleteTaskAsync()).ExitStatus);
        Assert.Equal(["exec-added", "exec-started", "exit", "exit", "exit", "delete"], (await EventsToDeleteAsync(container)).Select(e => e.Name));
    }

    [Fact]
    public async Task What_ended_while_containerd_was_away_is_known_afterwards()
    {
        Assert.SkipUnless(Settings.IsOurs, "containerd up to 2.2 removes a dead task whose pids the stock runtime cannot list");
        var container = await StartAsync(new ContainerPlan { Stdin = true }, "sh", "-c", Script);
        var other = await StartIdleAsync();
        await Node.Bed.StopAsync("KILL");
        await WriteAsync(container.Init, "end\n");
        await Within.UntilAsync(() => !Proc.Runs((int)container.Pid));
        await StartAgainAsync();

        Assert.Equal(9u, (await container.Init.WaitAsync()).ExitStatus);
        Assert.Equal(ProcessStatus.Stopped, (await container.Init.StateAsync()).Status);
        Assert.Equal("got end\n", await container.Init.Output.ToEndAsync());
        Assert.Equal(9u, (await container.DeleteTaskAsync()).ExitStatus);
    }

    [Fact]
    public async Task Much_output_written_while_containerd_is_away_is_not_lost()
    {
        var container = await NewAsync(new ContainerPlan { Stdin = true }, "sh", "-c", "read -r line; seq 1 300000");
        await container.CreateAsync();
        await container.Init.StartAsync();
        await Node.Bed.StopAsync("KILL");
        await container.Init.Output.DisposeAsync();
        await WriteAsync(container.Init, "go\n");
        await StartAgainAsync();
        var text = await container.Init.Reader().ToEndAsync();
        Assert.True(string.Concat(Enumerable.Range(1, 300000).Select(i => $"{i}\n")) == text, $"{text.Length} characters, other than expected");
        Assert.Equal(0u, (await container.Init.WaitAsync()).ExitStatus);
    }

    private async Task StartAgainAsync()
    {
        await Node.Bed.StartAsync();
        await Node.ReopenEventsAsync();
    }

    private static async Task WriteAsync(TestProcess process, string text)
    {
        await using var input = await process.OpenStdinAsync();
        await input.WriteAsync(System.Text.Encoding.UTF8.GetBytes(text));
    }
}
