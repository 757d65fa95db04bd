namespace Kuasar.EndToEnd.Tests.Stdio;

/// <summary>Standard output: all of it, in order, whoever reads when.</summary>
public class OutputTests(TestRun run, OwnNode? own = null) : NodeTest(run, own)
{
    // 10 MB of lines that differ.
    private const int ManyLines = 1_400_000;

    /// <summary>Fewer where processors are emulated.</summary>
    protected virtual int Lines => ManyLines;

    [Fact]
    public async Task Ten_megabytes_arrive_whole_and_in_order()
    {
        var container = await StartAsync("seq", "1", $"{ManyLines}");
        Assert.Equal(0u, (await container.Init.WaitAsync(TimeSpan.FromMinutes(1))).ExitStatus);
        Same(Expected(ManyLines), await container.Init.Output.ToEndAsync());
        await container.DeleteTaskAsync();
    }

    [Fact]
    public async Task Much_output_of_an_exec_arrives_whole_and_in_order()
    {
        var container = await StartIdleAsync();
        var exec = await container.ExecAsync("e", "seq", "1", $"{Lines}");
        Assert.Equal(0u, (await exec.WaitAsync(TimeSpan.FromMinutes(1))).ExitStatus);
        Same(Expected(Lines), await exec.Output.ToEndAsync());
    }

    [Fact]
    public async Task A_slow_reader_loses_nothing()
    {
        var container = await StartSlowlyReadAsync(TimeSpan.FromMilliseconds(2));
        Same(Expected(Lines), await container.Init.Output.ToEndAsync(TimeSpan.FromMinutes(1)));
        Assert.Equal(0u, (await container.Init.WaitAsync()).ExitStatus);
    }

    [Fact]
    public async Task A_reader_that_goes_away_and_comes_back_loses_nothing()
    {
        var container = await StartSlowlyReadAsync(TimeSpan.FromMilliseconds(20));
        var first = container.Init.Output;
        await first.UntilAsync(output => output.Length > 100_000, "100 kB");
        await first.DisposeAsync();
        // It waits for a reader now, having filled the pipe.
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
        Same(Expected(Lines), first.Text + await container.Init.Reader().ToEndAsync());
        Assert.Equal(0u, (await container.Init.WaitAsync()).ExitStatus);
    }

    [Fact]
    public async Task Last_words_are_kept_for_a_reader_that_has_not_read_yet()
    {
        var container = await NewAsync(new ContainerPlan(), "sh", "-c", "echo last words; exit 3");
        container.Init.ReadLater = true;
        container.Init.MakeFifos();
        using var opened = Libc.Open(container.Init.Stdout, Libc.O_RDONLY | Libc.O_NONBLOCK);
        await container.CreateAsync();
        await container.Init.StartAsync();
        Assert.Equal(3u, (await container.Init.WaitAsync()).ExitStatus);
        // No end is seen by who comes after the last writer.
        await container.Init.Reader().UntilAsync("last words\n");
        await container.DeleteTaskAsync();
    }

    [Fact]
    public async Task Last_words_are_kept_for_a_reader_that_has_not_come_yet()
    {
        Assert.SkipUnless(Settings.IsOurs, "the stock runtime's Create waits for a reader");
        var container = await NewAsync(new ContainerPlan(), "sh", "-c", "echo last words; exit 3");
        container.Init.ReadLater = true;
        await container.CreateAsync();
        await container.Init.StartAsync();
        Assert.Equal(3u, (await container.Init.WaitAsync()).ExitStatus);
        await container.Init.Reader().UntilAsync("last words\n");
        await container.DeleteTaskAsync();
    }

    [Fact]
    public async Task The_end_of_the_output_comes_before_the_task_is_deleted()
    {
        var container = await StartAsync("echo", "short");
        await container.Init.WaitAsync();
        Assert.Equal("short\n", await container.Init.Output.ToEndAsync());
        Assert.Equal("", await container.Init.Errors.ToEndAsync());
        Assert.Equal(ProcessStatus.Stopped, (await container.Init.StateAsync()).Status);
    }

    [Fact]
    public async Task Output_to_a_file_is_appended()
    {
        var container = await NewAsync(new ContainerPlan(), "sh", "-c", "echo out; echo err >&2");
        var file = Path.Combine(container.StdioFolder, "below", "log");
        var mounts = await container.Client.Snapshots.MountsAsync(new() { Snapshotter = Node.Bed.Snapshotter, Key = container.Id }, ContainerdClient.Options);
        await container.Client.Tasks.CreateAsync(
            new() { ContainerId = container.Id, Rootfs = { mounts.Mounts }, Stdout = $"file://{file}", Stderr = $"file://{file}" }, ContainerdClient.Options);
        await container.Init.StartAsync();
        Assert.Equal(0u, (await container.Init.WaitAsync()).ExitStatus);
        await container.DeleteTaskAsync();
        // The stock runtime copies the two one beside the other.
        Assert.Equal(["err", "out"], (await File.ReadAllLinesAsync(file)).Order(StringComparer.Ordinal));
    }

    private async Task<TestContainer> StartSlowlyReadAsync(TimeSpan pause)
    {
        var container = await NewAsync(new ContainerPlan(), "seq", "1", $"{Lines}");
        container.Init.ReadPause = pause;
        await container.CreateAsync();
        await container.Init.StartAsync();
        return container;
    }

    private static string Expected(int lines) => string.Concat(Enumerable.Range(1, lines).Select(i => $"{i}\n"));

    // Not Assert.Equal: it would print megabytes.
    private static void Same(string expected, string actual)
    {
        var same = expected.AsSpan().CommonPrefixLength(actual);
        Assert.True(same == expected.Length && same == actual.Length, $"{actual.Length} characters instead of {expected.Length}, the same up to {same}");
    }
}
