namespace Kuasar.EndToEnd.Tests.Domain;

public sealed class LeakNode(TestRun run) : OwnNode(run, "leaks")
{
    internal override string? Missing => OursOnly;
}

/// <summary>A resident process must not keep anything of what it has served.</summary>
public sealed class LeakTests(TestRun run, LeakNode own) : NodeTest(run, own), IClassFixture<LeakNode>
{
    // Pools and the like, which do not grow with the number of tasks.
    private const int Slack = 4;

    protected override string OursOnly => "it is about its sandboxer";

    [Fact]
    public async Task After_all_tasks_are_deleted_nothing_is_left_of_them()
    {
        await ChurnAsync(2);
        int[] processes = [Node.Sandboxer!.ProcessId, Node.Sandboxer.ServingProcessId];
        var before = await Task.WhenAll(processes.Select(SettledAsync));
        await ChurnAsync(20);
        foreach (var (process, open) in processes.Zip(before))
        {
            await Within.UntilAsync(
                () => Proc.FileDescriptors(process) <= open.Count + Slack, TimeSpan.FromSeconds(15), "the file descriptors are closed")
                .ContinueWith(wait => Assert.True(wait.IsCompletedSuccessfully, Difference(open, Proc.DescribeFileDescriptors(process))));
        }

        Assert.Empty(Directory.EnumerateFiles(Path.Combine(Node.RunDirectory, "tasks"), "*", SearchOption.AllDirectories));
        Assert.Empty(Proc.MountsBelow(Path.Combine(Node.Bed.Run, "state")));
        Assert.Empty(Proc.MountsBelow(Node.RunDirectory));
        Assert.DoesNotContain(Proc.Pids(), pid => !processes.Contains(pid) && processes.Contains(Proc.Parent(pid)));
    }

    private async Task ChurnAsync(int count)
    {
        await Task.WhenAll(Enumerable.Range(0, count).Select(async i =>
        {
            var container = await StartAsync(new ContainerPlan { Stdin = i % 2 == 0, Terminal = i % 3 == 0 }, "sleep", "3600");
            await container.RunAsync("echo", "fine");
            var exec = await container.AddExecAsync("t", new ExecPlan(Terminal: true, Stdin: true), "true");
            await exec.StartAsync();
            await exec.WaitAsync();
            await container.EndAsync();
            await Assert.ThrowsAsync<Grpc.Core.RpcException>(async () =>
            {
                var broken = await NewAsync(new ContainerPlan(), "/no/such/program");
                await broken.CreateAsync();
            });
        }));
    }

    // Two equal counts in a row.
    private static async Task<IReadOnlyList<string>> SettledAsync(int pid)
    {
        var last = -1;
        await Within.UntilAsync(async () =>
        {
            var previous = last;
            last = Proc.FileDescriptors(pid);
            await Task.Delay(200);
            return previous == last;
        }, what: "the number of file descriptors settles");
        return Proc.DescribeFileDescriptors(pid);
    }

    private static string Difference(IReadOnlyList<string> before, IReadOnlyList<string> after)
    {
        var more = after.ToList();
        foreach (var one in before)
        {
            more.Remove(one);
        }
        return $"{after.Count} file descriptors after {before.Count}; new: {string.Join(", ", more)}";
    }
}
