using System.Text.Json.Nodes;
using Grpc.Core;
using Kuasar.Protocol;

namespace Kuasar.EndToEnd.Tests.TaskApi;

/// <summary>Limits, statistics, pause.</summary>
public sealed class ResourceTests(TestRun run) : NodeTest(run)
{
    private const long MiB = 1 << 20;

    [Fact]
    public async Task Being_out_of_memory_is_told_and_ends_with_137()
    {
        // Touches 64 MiB, which is more than it may.
        var container = await StartAsync(new ContainerPlan { Change = OciSpec.WithMemoryLimit(32 * MiB) }, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=8");
        Assert.Equal(137u, (await container.Init.WaitAsync()).ExitStatus);
        await Events.UntilAsync(container.Id, "oom");
        await container.DeleteTaskAsync();
        Assert.Equal(["create", "start", "delete"], (await EventsToDeleteAsync(container)).Select(e => e.Name).Where(n => n is not ("oom" or "exit")));
    }

    [Fact]
    public async Task An_exec_that_is_out_of_memory_is_told_and_init_lives()
    {
        var container = await StartAsync(new ContainerPlan { Change = OciSpec.WithMemoryLimit(32 * MiB) }, "sleep", "3600");
        Assert.Equal(137u, (await container.RunAsync("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=8")).ExitCode);
        await Events.UntilAsync(container.Id, "oom");
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
    }

    [Fact]
    public async Task A_paused_task_stands_still_until_it_is_resumed()
    {
        var container = await StartAsync("sh", "-c", "while :; do echo x; sleep 0.01; done");
        await container.Init.Output.UntilAsync("x\nx\n");

        await PauseAsync(container);
        Assert.Equal(ProcessStatus.Paused, (await container.Init.StateAsync()).Status);
        await Assert.ThrowsAsync<RpcException>(() => PauseAsync(container));
        // What was written before may still be on its way; from then on nothing more can come.
        var before = -1L;
        await Within.UntilAsync(async () =>
        {
            (var last, before) = (before, container.Init.Output.Length);
            await Task.Delay(200);
            return last == before && before == container.Init.Output.Length;
        }, what: "the counter stands still");

        await container.Client.Tasks.ResumeAsync(new() { ContainerId = container.Id }, ContainerdClient.Options);
        Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
        await container.Init.Output.UntilAsync(output => output.Length > before, "more");
    }

    [Fact]
    public async Task A_paused_task_dies_by_KILL()
    {
        var container = await StartIdleAsync();
        await PauseAsync(container);
        await container.Init.KillAsync(9);
        Assert.Equal(137u, (await container.Init.WaitAsync()).ExitStatus);
        Assert.Equal(ProcessStatus.Stopped, (await container.Init.StateAsync()).Status);
        await container.DeleteTaskAsync();
    }

    [Fact]
    public async Task What_does_not_run_is_neither_paused_nor_resumed()
    {
        var container = await StartIdleAsync();
        await Assert.ThrowsAsync<RpcException>(async () => await container.Client.Tasks.ResumeAsync(new() { ContainerId = container.Id }, ContainerdClient.Options));
        await container.Init.KillAsync(9);
        await container.Init.WaitAsync();
        await Assert.ThrowsAsync<RpcException>(() => PauseAsync(container));
    }

    [Fact]
    public async Task Limits_can_be_changed_while_a_task_runs()
    {
        var container = await StartAsync(new ContainerPlan { Change = OciSpec.WithMemoryLimit(64 * MiB) }, "sleep", "3600");
        Assert.Equal(64 * MiB, Cgroup.MemoryLimit(container.Pid));
        Assert.Equal((ulong)(64 * MiB), (await StatisticsAsync(container)).MemoryLimit);

        await container.UpdateAsync(new JsonObject
        {
            ["memory"] = new JsonObject { ["limit"] = 128 * MiB, ["swap"] = 128 * MiB },
            ["cpu"] = new JsonObject { ["quota"] = 25000, ["period"] = 100000 },
        });
        Assert.Equal(128 * MiB, Cgroup.MemoryLimit(container.Pid));
        Assert.Equal((25000, 100000), Cgroup.CpuQuota(container.Pid));
        Assert.Equal((ulong)(128 * MiB), (await StatisticsAsync(container)).MemoryLimit);
    }

    [Fact]
    public async Task A_created_task_can_be_updated_and_a_stopped_one_cannot()
    {
        var container = await CreateAsync(new ContainerPlan(), "sleep", "3600");
        var limit = new JsonObject { ["memory"] = new JsonObject { ["limit"] = 128 * MiB } };
        await container.UpdateAsync(limit);
        Assert.Equal(128 * MiB, Cgroup.MemoryLimit(container.Pid));
        await container.Init.KillAsync(9);
        await container.Init.WaitAsync();
        await Assert.ThrowsAsync<RpcException>(() => container.UpdateAsync(limit));
    }

    [Fact]
    public async Task Statistics_count_what_the_task_uses()
    {
        var container = await StartAsync("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 3600");
        await container.Init.Output.UntilAsync("done");
        var (memory, _, cpu, pids) = await StatisticsAsync(container);
        Assert.True(memory > 0 && cpu > 0 && pids is > 0 and < 10, $"memory {memory}, cpu {cpu}, pids {pids}");
    }

    private static async Task PauseAsync(TestContainer container) =>
        await container.Client.Tasks.PauseAsync(new() { ContainerId = container.Id }, ContainerdClient.Options);

    private static async Task<(ulong Memory, ulong MemoryLimit, ulong Cpu, ulong Pids)> StatisticsAsync(TestContainer container)
    {
        var data = (await container.MetricsAsync()).Data;
        if (TypeUrl.TryUnpack<Protocol.Contracts.CgroupsV1.Metrics>(data, out var v1))
        {
            return (v1.Memory.Usage.Usage, v1.Memory.Usage.Limit, v1.Cpu.Usage.Total, v1.Pids.Current);
        }
        Assert.True(TypeUrl.TryUnpack<Protocol.Contracts.CgroupsV2.Metrics>(data, out var v2), data.TypeUrl);
        return (v2.Memory.Usage, v2.Memory.UsageLimit, v2.Cpu.UsageUsec, v2.Pids.Current);
    }
}
