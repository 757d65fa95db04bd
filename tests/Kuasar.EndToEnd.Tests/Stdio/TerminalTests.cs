using Grpc.Core;

namespace Kuasar.EndToEnd.Tests.Stdio;

/// <summary>Processes with a terminal.</summary>
public class TerminalTests(TestRun run, OwnNode? own = null) : NodeTest(run, own)
{
    // Each line of input shows the size of the terminal.
    private const string Script = "tty; while read -r line; do echo \"$line is $(stty size)\"; [ \"$line\" = end ] && exit 9; done";

    [Fact]
    public async Task Init_has_a_terminal_that_takes_input_and_changes_its_size()
    {
        var container = await StartAsync(new ContainerPlan { Terminal = true, Stdin = true }, "sh", "-c", Script);
        Assert.True((await container.Init.StateAsync()).Terminal);
        await TalkAsync(container.Init);
        await container.DeleteTaskAsync();
    }

    [Fact]
    public async Task An_exec_has_a_terminal_that_takes_input_and_changes_its_size()
    {
        var container = await StartIdleAsync();
        var exec = await container.AddExecAsync("e", new ExecPlan(Terminal: true, Stdin: true), "sh", "-c", Script);
        await exec.StartAsync();
        Assert.True((await exec.StateAsync()).Terminal);
        await TalkAsync(exec);
        await exec.DeleteAsync();
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
    }

    /// <summary>Fewer where processors are emulated.</summary>
    protected virtual int Lines => 100_000;

    [Fact]
    public async Task A_terminals_output_is_whole_and_in_order()
    {
        var container = await StartAsync(new ContainerPlan { Terminal = true }, "seq", "1", $"{Lines}");
        await container.Init.WaitAsync();
        // The terminal ends lines with both.
        Assert.Equal(string.Concat(Enumerable.Range(1, Lines).Select(i => $"{i}\r\n")), await container.Init.Output.ToEndAsync());
    }

    [Fact]
    public async Task Control_C_interrupts_what_runs_in_the_terminal()
    {
        var container = await StartIdleAsync();
        var exec = await container.AddExecAsync("e", new ExecPlan(Terminal: true, Stdin: true), "sh", "-c", "echo ready; exec sleep 3600");
        await exec.StartAsync();
        await exec.Output.UntilAsync("ready");
        await using var input = await exec.OpenStdinAsync();
        // sleep may not have taken the shell's place yet, which makes no difference.
        await input.WriteAsync(new byte[] { 3 });
        Assert.Equal(130u, (await exec.WaitAsync()).ExitStatus);
    }

    [Fact]
    public async Task Without_a_terminal_a_resize_does_nothing()
    {
        var container = await StartIdleAsync();
        await container.Init.ResizeAsync(100, 30);
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
    }

    private static async Task TalkAsync(TestProcess process)
    {
        await process.Output.UntilAsync("/dev/pts/");
        await using var input = await process.OpenStdinAsync();
        await process.ResizeAsync(width: 100, height: 30);
        await input.WriteAsync("one\n"u8.ToArray());
        await process.Output.UntilAsync("one is 30 100");
        await process.ResizeAsync(width: 132, height: 43);
        await input.WriteAsync("two\n"u8.ToArray());
        await process.Output.UntilAsync("two is 43 132");
        await input.WriteAsync("end\n"u8.ToArray());
        Assert.Equal(9u, (await process.WaitAsync()).ExitStatus);
        await process.Output.ToEndAsync();
        // The stock runtime says nothing of a dead init.
        if (Settings.IsOurs || process.ExecId.Length > 0)
        {
            await Assert.ThrowsAsync<RpcException>(() => process.ResizeAsync(100, 30));
        }
    }
}
