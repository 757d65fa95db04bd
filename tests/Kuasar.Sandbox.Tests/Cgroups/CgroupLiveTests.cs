using System.Diagnostics;
using Kuasar.Linux;
using Kuasar.Sandbox.Cgroups;
using Kuasar.Sandbox.Processes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Sandbox.Tests.Cgroups;

public sealed class CgroupLiveTests
{
    private static readonly string[] V1 =
        ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/freezer"];

    // A fork, some work and a second process, both in the cgroup.
    private const string Work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000 & sleep 1000";

    [Fact]
    public void V1_statistics_are_those_of_the_running_processes()
    {
        using var live = LiveCgroup.Create(Work, V1);
        live.Go();
        var cgroup = Assert.IsType<CgroupV1>(Cgroup.OfProcess(live.Pid));
        WaitFor(() => cgroup.GetProcessIds().Count >= 2);

        Assert.True(cgroup.Exists);
        Assert.Equal(5, cgroup.Folders.Count);
        Assert.Contains(live.Pid, cgroup.GetProcessIds());
        // The kernel adds up memory.stat every two seconds or so only.
        WaitFor(() => cgroup.ReadMetrics().Memory is { TotalRss: > 0, PgFault: > 0 });
        var metrics = cgroup.ReadMetrics();
        Assert.True(metrics.Cpu.Usage.Total > 0);
        Assert.NotEmpty(metrics.Cpu.Usage.PerCpu);
        Assert.NotNull(metrics.Cpu.Throttling);
        Assert.True(metrics.Memory.Usage.Usage > 0);
        Assert.True(metrics.Memory.Usage.Limit > metrics.Memory.Usage.Usage);
        Assert.True(metrics.Pids.Current >= 2);
        Assert.NotNull(metrics.MemoryOomControl);
        Assert.Null(metrics.Blkio);
        Assert.Empty(metrics.Hugetlb);
    }

    [Fact]
    public void V1_kill_ends_every_process_even_a_frozen_one()
    {
        using var live = LiveCgroup.Create(Work, V1);
        live.Go();
        var cgroup = Cgroup.OfProcess(live.Pid)!;
        WaitFor(() => cgroup.GetProcessIds().Count >= 2);
        File.WriteAllText(live.FileOf("freezer", "freezer.state"), "FROZEN");
        WaitFor(() => File.ReadAllText(live.FileOf("freezer", "freezer.state")).Trim() == "FROZEN");

        cgroup.Signal(Libc.SIGKILL);

        Assert.Empty(cgroup.GetProcessIds());
        Assert.Equal(128 + 9, live.WaitForExit(5));
    }

    [Fact]
    public void V1_other_signals_reach_every_process()
    {
        using var live = LiveCgroup.Create("sleep 1000 & wait", V1);
        live.Go();
        var cgroup = Cgroup.OfProcess(live.Pid)!;
        WaitFor(() => cgroup.GetProcessIds().Count == 2);

        cgroup.Signal(Libc.SIGTERM);

        Assert.Equal(128 + 15, live.WaitForExit(5));
        WaitFor(() => cgroup.GetProcessIds().Count == 0);
    }

    [Fact]
    public void V1_an_oom_kill_is_reported()
    {
        using var live = LiveCgroup.Create("exec tail /dev/zero", V1);
        File.WriteAllText(live.FileOf("memory", "memory.limit_in_bytes"), "16777216");
        var cgroup = Cgroup.OfProcess(live.Pid)!;
        using var loop = new EventLoop(NullLogger.Instance);
        using var reported = new ManualResetEventSlim();
        var calls = 0;
        using var watch = cgroup.WatchOom(loop, () =>
        {
            Interlocked.Increment(ref calls);
            reported.Set();
        });
        Assert.False(reported.Wait(50, TestContext.Current.CancellationToken));

        live.Go();

        Assert.True(reported.Wait(5000, TestContext.Current.CancellationToken));
        // Only told once it is counted.
        Assert.Equal(1, cgroup.OomKills);
        Assert.Equal(128 + 9, live.WaitForExit(5));

        // The kernel signals the watch again when the cgroup goes, which is no OOM.
        live.Dispose();
        Thread.Sleep(200);
        Assert.Equal(1, calls);
        Assert.False(cgroup.Exists);
    }

    [Fact]
    public void V1_an_oom_kill_in_a_cgroup_below_counts()
    {
        using var live = LiveCgroup.Create("exec tail /dev/zero", V1);
        var cgroup = Cgroup.OfProcess(live.Pid)!;
        File.WriteAllText(live.FileOf("memory", "memory.limit_in_bytes"), "16777216");
        var below = Directory.CreateDirectory(live.FileOf("memory", "below")).FullName;
        try
        {
            File.WriteAllText(Path.Combine(below, "cgroup.procs"), $"{live.Pid}");
            using var loop = new EventLoop(NullLogger.Instance);
            using var reported = new ManualResetEventSlim();
            using var watch = cgroup.WatchOom(loop, reported.Set);
            live.Go();
            Assert.True(reported.Wait(5000, TestContext.Current.CancellationToken));
            Assert.Equal(128 + 9, live.WaitForExit(5));
            Assert.Equal(1, cgroup.OomKills);
        }
        finally
        {
            cgroup.Signal(Libc.SIGKILL);
            live.WaitForExit(5);
            Directory.Delete(below);
        }
    }

    [Fact]
    public void V2_kill_and_cpu_statistics_work_on_the_unified_hierarchy()
    {
        var unified = File.Exists("/sys/fs/cgroup/cgroup.procs") ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
        using var live = LiveCgroup.Create(Work, unified);
        Assert.SkipUnless(File.Exists(live.FileOf(unified.Split('/')[^1], "cgroup.kill")), "no cgroup.kill: the kernel is older than 5.14");
        live.Go();
        var cgroup = Assert.IsType<CgroupV2>(Cgroup.OfProcess(live.Pid));
        WaitFor(() => cgroup.GetProcessIds().Count >= 2);
        WaitFor(() => cgroup.ReadMetrics().Cpu.UsageUsec > 0);

        cgroup.Signal(Libc.SIGKILL);

        Assert.Equal(128 + 9, live.WaitForExit(5));
        WaitFor(() => cgroup.GetProcessIds().Count == 0);
    }

    [Fact]
    public void V2_a_new_oom_kill_in_memory_events_is_reported_once()
    {
        var folder = Directory.CreateTempSubdirectory("kuasar-cgroup-");
        try
        {
            var events = Path.Combine(folder.FullName, "memory.events");
            File.WriteAllText(events, "high 0\noom_kill 2\n");
            using var loop = new EventLoop(NullLogger.Instance);
            using var calls = new SemaphoreSlim(0);
            using var watch = new CgroupV2(folder.FullName).WatchOom(loop, () => calls.Release());

            File.WriteAllText(events, "high 9\noom_kill 2\n");
            Assert.False(calls.Wait(100, TestContext.Current.CancellationToken));
            File.WriteAllText(events, "high 9\noom_kill 3\n");
            Assert.True(calls.Wait(5000, TestContext.Current.CancellationToken));
            Assert.False(calls.Wait(100, TestContext.Current.CancellationToken));

            watch.Dispose();
            File.WriteAllText(events, "high 9\noom_kill 4\n");
            Assert.False(calls.Wait(100, TestContext.Current.CancellationToken));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void V2_kill_writes_cgroup_kill()
    {
        var folder = Directory.CreateTempSubdirectory("kuasar-cgroup-");
        try
        {
            var file = Path.Combine(folder.FullName, "cgroup.kill");
            File.WriteAllText(file, "");
            // A pid beyond what the kernel gives: this folder never empties, which costs Signal its two seconds.
            File.WriteAllText(Path.Combine(folder.FullName, "cgroup.procs"), "999999999\n");
            new CgroupV2(folder.FullName).Signal(Libc.SIGKILL);
            Assert.Equal("1", File.ReadAllText(file));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void Without_a_memory_controller_there_is_nothing_to_watch()
    {
        using var loop = new EventLoop(NullLogger.Instance);
        Fixture.Open("v1", "/nonexistent").WatchOom(loop, () => { }).Dispose();
        Fixture.Open("v2", "/nonexistent").WatchOom(loop, () => { }).Dispose();
    }

    private static void WaitFor(Func<bool> condition)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed.TotalSeconds < 5, "not within 5 seconds");
            Thread.Sleep(10);
        }
    }
}
