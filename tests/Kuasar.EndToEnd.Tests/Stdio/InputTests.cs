namespace Kuasar.EndToEnd.Tests.Stdio;

/// <summary>Standard input.</summary>
public class InputTests(TestRun run, OwnNode? own = null) : NodeTest(run, own)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Input_ends_with_CloseIO_and_not_when_its_writer_leaves(bool asExec)
    {
        var (container, process) = await StartCatAsync(asExec);
        await WriteAsync(process, "one\n");
        await process.Output.UntilAsync("one\n");
        Assert.Equal(ProcessStatus.Running, (await process.StateAsync()).Status);

        await WriteAsync(process, "two\n");
        await process.Output.UntilAsync("two\n");
        await process.CloseStdinAsync();
        Assert.Equal(0u, (await process.WaitAsync()).ExitStatus);
        Assert.Equal("one\ntwo\n", await process.Output.ToEndAsync());
        Assert.Equal(asExec ? ProcessStatus.Running : ProcessStatus.Stopped, (await container.Init.StateAsync()).Status);
    }

    [Fact]
    public async Task Much_input_arrives_whole()
    {
        var (_, process) = await StartCatAsync(asExec: false);
        var text = string.Concat(Enumerable.Range(1, 200000).Select(i => $"{i}\n"));
        await WriteAsync(process, text);
        await process.CloseStdinAsync();
        Assert.Equal(0u, (await process.WaitAsync()).ExitStatus);
        Assert.Equal(text, await process.Output.ToEndAsync());
    }

    [Fact]
    public async Task Without_input_a_process_reads_its_end_at_once()
    {
        var container = await StartAsync("cat");
        Assert.Equal(0u, (await container.Init.WaitAsync()).ExitStatus);
    }

    private async Task<(TestContainer Container, TestProcess Process)> StartCatAsync(bool asExec)
    {
        if (!asExec)
        {
            var container = await StartAsync(new ContainerPlan { Stdin = true }, "cat");
            return (container, container.Init);
        }
        var idle = await StartIdleAsync();
        var exec = await idle.AddExecAsync("e", new ExecPlan(Stdin: true), "cat");
        await exec.StartAsync();
        return (idle, exec);
    }

    // A client that comes, writes, and goes.
    private static async Task WriteAsync(TestProcess process, string text)
    {
        await using var input = await process.OpenStdinAsync();
        await input.WriteAsync(System.Text.Encoding.UTF8.GetBytes(text)).AsTask().BoundAsync();
    }
}
