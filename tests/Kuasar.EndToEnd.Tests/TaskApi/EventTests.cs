using Kuasar.Protocol.Contracts.Events;

namespace Kuasar.EndToEnd.Tests.TaskApi;

/// <summary>Every event once, in the order that clients count on.</summary>
public sealed class EventTests(TestRun run) : NodeTest(run)
{
    [Fact]
    public async Task A_task_tells_create_start_exit_delete()
    {
        var container = await StartAsync("sh", "-c", "exit 5");
        await container.Init.WaitAsync();
        await container.DeleteTaskAsync();
        var events = await EventsToDeleteAsync(container);
        Assert.Equal(["create", "start", "exit", "delete"], events.Select(e => e.ToString()));
        var create = (TaskCreate)events[0].Message;
        Assert.Equal((container.Pid, container.Bundle), (create.Pid, create.Bundle));
        Assert.Equal((container.Init.Stdin, container.Init.Stdout, container.Init.Stderr, false),
            (create.Io.Stdin, create.Io.Stdout, create.Io.Stderr, create.Io.Terminal));
        Assert.NotEmpty(create.Rootfs);
        Assert.Equal(container.Pid, ((TaskStart)events[1].Message).Pid);
        var exit = (TaskExit)events[2].Message;
        Assert.Equal((container.Pid, 5u), (exit.Pid, exit.ExitStatus));
        var delete = (TaskDelete)events[3].Message;
        Assert.Equal((container.Pid, 5u), (delete.Pid, delete.ExitStatus));
        Assert.Equal(exit.ExitedAt, delete.ExitedAt);
    }

    [Fact]
    public async Task Execs_are_told_between_start_and_exit()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "sh", "-c", "exit 6");
        await exec.WaitAsync();
        await exec.DeleteAsync();
        await container.EndAsync();
        var events = await EventsToDeleteAsync(container);
        Assert.Equal(["create", "start", "exec-added(e)", "exec-started(e)", "exit(e)", "exit", "delete"], events.Select(e => e.ToString()));
        Assert.Equal(exec.Pid, ((TaskExecStarted)events[3].Message).Pid);
        var exit = (TaskExit)events[4].Message;
        Assert.Equal((exec.Pid, 6u), (exit.Pid, exit.ExitStatus));
    }

    [Fact]
    public async Task Execs_that_end_with_init_are_told_before_it()
    {
        var container = await StartIdleAsync();
        foreach (var exec in (string[])["e1", "e2", "e3"])
        {
            await container.ExecAsync(exec, "sleep", "3600");
        }
        await container.EndAsync();
        var events = (await EventsToDeleteAsync(container)).Select(e => e.ToString()).ToList();
        Assert.Equal(["exit", "delete"], events[^2..]);
        Assert.Equal(["exit(e1)", "exit(e2)", "exit(e3)"], events[^5..^2].Order(StringComparer.Ordinal));
        Assert.Equal(13, events.Count);
    }

    [Fact]
    public async Task A_process_that_ends_inside_Start_is_told_in_order_and_once()
    {
        foreach (var round in Enumerable.Range(0, 4))
        {
            var containers = await Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
            {
                var container = await NewAsync(new ContainerPlan(), "true");
                await container.CreateAsync();
                await container.Init.StartAsync();
                await container.Init.WaitAsync();
                await container.DeleteTaskAsync();
                return container;
            }));
            foreach (var container in containers)
            {
                Assert.Equal(["create", "start", "exit", "delete"], (await EventsToDeleteAsync(container)).Select(e => e.ToString()));
            }
        }
    }

    [Fact]
    public async Task Short_execs_are_told_in_order_and_once()
    {
        var container = await StartIdleAsync();
        await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => container.RunAsync("true")));
        await container.EndAsync();
        var events = await EventsToDeleteAsync(container);
        foreach (var exec in events.Where(e => e.Process.Length > 0 || e.Name.StartsWith("exec", StringComparison.Ordinal)).GroupBy(e => e.Process))
        {
            Assert.Equal(["exec-added", "exec-started", "exit"], exec.Select(e => e.Name));
        }
        Assert.Equal(34, events.Count);
    }

    [Fact]
    public async Task Pause_and_resume_are_told()
    {
        var container = await StartIdleAsync();
        await container.Client.Tasks.PauseAsync(new() { ContainerId = container.Id }, ContainerdClient.Options);
        await container.Client.Tasks.ResumeAsync(new() { ContainerId = container.Id }, ContainerdClient.Options);
        await container.EndAsync();
        Assert.Equal(["create", "start", "paused", "resumed", "exit", "delete"], (await EventsToDeleteAsync(container)).Select(e => e.ToString()));
    }
}
