using Grpc.Core;

namespace Kuasar.EndToEnd.Tests.Domain;

public sealed class RecoveryNode(TestRun run) : OwnNode(run, "recovery")
{
    internal override string? Missing => OursOnly;

    protected override SandboxerPlan Plan => new() { HasKeeper = false };
}

/// <summary>
/// The sandboxer is killed while containerd is away, as both are when a node's software is replaced: the next one takes over what lives, and
/// containerd finds it.
/// </summary>
public sealed class RecoveryTests(TestRun run, RecoveryNode own) : NodeTest(run, own), IClassFixture<RecoveryNode>
{
    private const string Script = "while read -r line; do echo \"got $line\"; [ \"$line\" = end ] && exit 9; done";

    protected override string OursOnly => "it is about its sandboxer";

    [Fact]
    public async Task A_task_goes_on_with_its_streams_its_execs_and_its_limits()
    {
        var container = await StartAsync(new ContainerPlan { Stdin = true }, "sh", "-c", Script);
        var exec = await container.AddExecAsync("e", new ExecPlan(Stdin: true), "sh", "-c", Script);
        await exec.StartAsync();
        var added = await container.AddExecAsync("later", new ExecPlan(), "sh", "-c", "echo later; exit 4");
        // Its client's, which lives on: without a keeper nobody else has the other end of stdin while the sandboxer is away.
        await using var input = await container.Init.OpenStdinAsync();
        await using var execInput = await exec.OpenStdinAsync();
        await WriteAsync(input, "one\n");
        await container.Init.Output.UntilAsync("got one\n");

        await ReplaceAsync();

        var state = await container.Init.StateAsync();
        Assert.Equal((ProcessStatus.Running, container.Pid, container.Init.Stdout), (state.Status, state.Pid, state.Stdout));
        Assert.Equal(("fine\n", 0u), await container.RunAsync("echo", "fine"));
        await added.StartAsync();
        await added.WaitAsync();
        Assert.Equal("later\n", await added.Output.ToEndAsync());
        await WriteAsync(execInput, "two\n");
        await exec.Output.UntilAsync("got two\n");
        await WriteAsync(input, "two\n");
        await container.Init.Output.UntilAsync("got two\n");
        await container.UpdateAsync(new() { ["memory"] = new System.Text.Json.Nodes.JsonObject { ["limit"] = 64 << 20 } });
        await container.MetricsAsync();
        await WriteAsync(input, "end\n");
        // Not a child of this sandboxer; the kernel tells all the same.
        Assert.Equal(9u, (await container.Init.WaitAsync()).ExitStatus);
        await container.DeleteTaskAsync();
        await EventsToDeleteAsync(container);
    }

    [Fact]
    public async Task What_was_made_is_started_what_was_paused_resumed_and_what_had_ended_deleted()
    {
        var made = await CreateAsync(new ContainerPlan(), "sh", "-c", "echo started; sleep 3600");
        var paused = await StartIdleAsync();
        await paused.Client.Tasks.PauseAsync(new() { ContainerId = paused.Id }, ContainerdClient.Options);
        var ended = await StartAsync("sh", "-c", "exit 7");
        Assert.Equal(7u, (await ended.Init.WaitAsync()).ExitStatus);
        var dead = await StartIdleAsync();

        await ReplaceAsync(() => Libc.Signal((int)dead.Pid, Libc.SIGKILL));

        Assert.Equal(ProcessStatus.Created, (await made.Init.StateAsync()).Status);
        await made.Init.StartAsync();
        await made.Init.Output.UntilAsync("started\n");
        Assert.Equal(ProcessStatus.Paused, (await paused.Init.StateAsync()).Status);
        await paused.Client.Tasks.ResumeAsync(new() { ContainerId = paused.Id }, ContainerdClient.Options);
        Assert.Equal(("fine\n", 0u), await paused.RunAsync("echo", "fine"));
        Assert.Equal(ProcessStatus.Stopped, (await ended.Init.StateAsync()).Status);
        Assert.Equal(7u, (await ended.DeleteTaskAsync()).ExitStatus);
        // Unknown, when its parent has reaped it before the sandboxer came.
        Assert.Contains((await dead.Init.WaitAsync()).ExitStatus, (uint[])[137, 255]);
        await dead.DeleteTaskAsync();
        await made.EndAsync();
        await paused.EndAsync();
    }

    [Fact]
    public async Task What_a_shim_has_ended_meanwhile_stays_ended()
    {
        var container = await StartIdleAsync();
        // containerd runs `delete` when the connection closes.
        await Node.Sandboxer!.KillAsync();
        await Events.UntilAsync(container.Id, "delete");
        await Node.StartSandboxerAsync();
        await FailsAsync(StatusCode.NotFound, () => container.Init.StateAsync());
        Assert.False(Proc.Runs((int)container.Pid));
        await container.CreateAsync();
        await container.Init.StartAsync();
        await container.EndAsync();
    }

    private async Task ReplaceAsync(Action? meanwhile = null)
    {
        await Node.Bed.StopAsync("KILL");
        await Node.Sandboxer!.KillAsync();
        meanwhile?.Invoke();
        await Node.StartSandboxerAsync();
        await Node.Bed.StartAsync();
        await Node.ReopenEventsAsync();
    }

    private static async Task WriteAsync(Stream input, string text)
    {
        await input.WriteAsync(System.Text.Encoding.UTF8.GetBytes(text));
        await input.FlushAsync();
    }
}
