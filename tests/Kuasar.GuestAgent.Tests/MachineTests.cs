using System.Text.Json.Nodes;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.GuestAgent.Tests.Beds;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.CgroupsV2;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Vmm;
using Kuasar.Vmm.Contracts.Agent;
using AgentClient = Kuasar.GuestAgent.Tests.Beds.AgentClient;
using Task = System.Threading.Tasks.Task;

namespace Kuasar.GuestAgent.Tests;

/// <summary>In a guest.</summary>
public sealed class MachineTaskTests(MachineBed bed) : TaskTestBase(bed), IClassFixture<MachineBed>;

/// <summary>What only a machine of one's own shows: its kernel, cgroups v2, its network, its end.</summary>
public sealed class MachineTests(MachineBed bed) : IClassFixture<MachineBed>
{
    [Fact]
    public async Task Shell_of_the_guest_runs_commands()
    {
        using var agent = await bed.OpenAsync();
        var release = (await agent.Agent.ExecVMProcessAsync(new ExecVMProcessRequest { Command = "cat /proc/sys/kernel/osrelease" }, AgentClient.Soon)).Out.Trim();
        Assert.NotEqual(File.ReadAllText("/proc/sys/kernel/osrelease").Trim(), release);
        Assert.EndsWith("-cloud-amd64", release, StringComparison.Ordinal);
        var error = await Assert.ThrowsAsync<RpcException>(async () =>
            await agent.Agent.ExecVMProcessAsync(new ExecVMProcessRequest { Command = "cat >&2; exit 3", Stdin = ByteString.CopyFromUtf8("why") }, AgentClient.Soon));
        Assert.Equal("the command ended with code 3: why", error.Status.Detail);
    }

    [Fact]
    public async Task Container_out_of_memory_is_killed_and_told_before_its_exit()
    {
        using var agent = await bed.OpenAsync();
        var events = agent.Agent.GetEventsAsync(new Empty(), new CallOptions(deadline: DateTime.UtcNow.AddSeconds(60)));
        var id = bed.NewId("oom");
        Bundle.Write(Path.Combine(bed.Share, id), ["awk", "BEGIN { s = \"x\"; while (1) s = s s }"], change: spec => Limit(spec, memory: 16 << 20));
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        Assert.Equal(137u, await agent.WaitAsync(id));
        var envelope = await events;
        Assert.Equal("/tasks/oom", envelope.Topic);
        Assert.True(TypeUrl.TryUnpack<TaskOOM>(envelope.Event, out var oom));
        Assert.Equal(id, oom.ContainerId);
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Statistics_and_limits_are_those_of_cgroups_v2()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("stats");
        Bundle.Write(Path.Combine(bed.Share, id), ["sleep", "1000"], change: spec => Limit(spec, memory: 64 << 20));
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        var metrics = await MetricsAsync(agent, id);
        Assert.Equal(64ul << 20, metrics.Memory.UsageLimit);
        Assert.InRange(metrics.Memory.Usage, 1ul, 64ul << 20);
        Assert.Equal(1ul, metrics.Pids.Current);
        Assert.Equal(32ul, metrics.Pids.Limit);

        var resources = new Any
        {
            TypeUrl = TypeUrl.OciLinuxResources,
            Value = ByteString.CopyFromUtf8("""{"memory":{"limit":33554432},"cpu":{"quota":50000,"period":100000}}"""),
        };
        await agent.Tasks.UpdateAsync(new UpdateTaskRequest { Id = id, Resources = resources }, AgentClient.Soon);
        Assert.Equal(32ul << 20, (await MetricsAsync(agent, id)).Memory.UsageLimit);
        Assert.Equal("50000 100000", await ShellAsync(agent, $"cat /sys/fs/cgroup/kuasar/{id}/cpu.max"));
        await agent.Tasks.PauseAsync(new PauseRequest { Id = id }, AgentClient.Soon);
        Assert.Equal("1", await ShellAsync(agent, $"cat /sys/fs/cgroup/kuasar/{id}/cgroup.freeze"));
        // The kernel lets a frozen cgroup of v2 die.
        await agent.KillAsync(id);
        Assert.Equal(137u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
        Assert.Equal("", await ShellAsync(agent, $"ls /sys/fs/cgroup/kuasar | cat | sed -n /{id}/p || true"));
    }

    [Fact]
    public async Task Pod_has_the_names_addresses_routes_and_sysctls_that_the_host_gives_it()
    {
        using var agent = await bed.OpenAsync();
        var setup = new SetupSandboxRequest
        {
            Config = new Any
            {
                TypeUrl = "PodSandboxConfig",
                Value = ByteString.CopyFromUtf8(
                    """{"hostname":"my-pod","linux":{"sysctls":{"net.ipv4.ip_forward":"1"},"security_context":{"namespace_options":{"pid":0}}}}"""),
            },
        };
        var eth0 = new Interface { Name = "pod0", HwAddr = MachineBed.HardwareAddress, Mtu = 1400 };
        eth0.IPAddresses.Add(new IPAddress { Address = "10.9.8.7", Mask = "24" });
        eth0.IPAddresses.Add(new IPAddress { Family = IPFamily.V6, Address = "fd00::7", Mask = "64" });
        setup.Interfaces.Add(eth0);
        setup.Routes.Add(new Route { Gateway = "10.9.8.1", Device = "pod0" });
        setup.Routes.Add(new Route { Dest = "192.168.7.0/24", Device = "pod0", Scope = 253 });
        // Again is no error.
        await agent.Agent.SetupSandboxAsync(setup, AgentClient.Soon);
        await agent.Agent.SetupSandboxAsync(setup, AgentClient.Soon);

        Assert.Equal("my-pod", await ShellAsync(agent, "cat /proc/sys/kernel/hostname"));
        Assert.Equal("1", await ShellAsync(agent, "cat /proc/sys/net/ipv4/ip_forward"));
        var address = await ShellAsync(agent, "ip addr show pod0");
        Assert.Contains("mtu 1400", address, StringComparison.Ordinal);
        Assert.Contains("inet 10.9.8.7/24", address, StringComparison.Ordinal);
        Assert.Contains("inet6 fd00::7/64", address, StringComparison.Ordinal);
        var routes = await ShellAsync(agent, "ip route");
        Assert.Contains("default via 10.9.8.1 dev pod0", routes, StringComparison.Ordinal);
        Assert.Contains("192.168.7.0/24 dev pod0", routes, StringComparison.Ordinal);

        eth0.IPAddresses.Clear();
        eth0.IPAddresses.Add(new IPAddress { Address = "10.9.8.8", Mask = "24" });
        await agent.Agent.UpdateInterfacesAsync(new UpdateInterfacesRequest { Interfaces = { eth0 } }, AgentClient.Soon);
        address = await ShellAsync(agent, "ip addr show pod0");
        Assert.Contains("inet 10.9.8.8/24", address, StringComparison.Ordinal);
        Assert.DoesNotContain("10.9.8.7", address, StringComparison.Ordinal);

        // Containers have the pod's names; its processes are apart from the agent's.
        var id = bed.NewId("pod");
        Bundle.Write(Path.Combine(bed.Share, id), ["sh", "-c", "hostname; cat /proc/1/comm"], change: spec => spec["linux"]!["namespaces"] = new JsonArray(
            new JsonObject { ["type"] = "mount" },
            new JsonObject { ["type"] = "network", ["path"] = "/proc/4711/ns/net" },
            new JsonObject { ["type"] = "uts", ["path"] = "/proc/4711/ns/uts" },
            new JsonObject { ["type"] = "ipc", ["path"] = "/proc/4711/ns/ipc" },
            new JsonObject { ["type"] = "pid", ["path"] = "/proc/4711/ns/pid" }));
        await agent.CreateAsync(id);
        Assert.Equal((0u, "my-pod\npod-init\n", ""), await agent.FinishAsync(id));
    }

    [Fact]
    public async Task Clock_goes_by_what_the_host_measures()
    {
        using var agent = await bed.OpenAsync();
        var wrong = TimeSpan.FromHours(5);
        await agent.Agent.SyncClockAsync(new SyncClockPacket { Delta = wrong.Ticks * 100 }, AgentClient.Soon);
        var delta = await MeasureAsync();
        Assert.InRange(delta, -wrong - TimeSpan.FromSeconds(20), -wrong + TimeSpan.FromSeconds(20));
        await agent.Agent.SyncClockAsync(new SyncClockPacket { Delta = delta.Ticks * 100 }, AgentClient.Soon);
        Assert.InRange(await MeasureAsync(), TimeSpan.FromSeconds(-1), TimeSpan.FromSeconds(1));

        async Task<TimeSpan> MeasureAsync()
        {
            var packet = await agent.Agent.SyncClockAsync(new SyncClockPacket { ClientSendTime = Now() }, AgentClient.Soon);
            return TimeSpan.FromTicks((packet.ClientSendTime - packet.ClientArriveTime + Now() - packet.ServerSendTime) / 2 / 100);
        }

        static long Now() => (DateTime.UtcNow - DateTime.UnixEpoch).Ticks * 100;
    }

    [Fact]
    public async Task Device_that_is_plugged_in_gets_its_address()
    {
        using var agent = await bed.OpenAsync();
        await bed.Machine.AddDeviceAsync(new VmNet("more", "52:54:00:aa:bb:cc") { TapName = MachineBed.NewTap(1) }, CancellationToken.None);
        var wanted = new Interface { Name = "net1", HwAddr = "52:54:00:AA:BB:CC", IPAddresses = { new IPAddress { Address = "10.77.0.2", Mask = "16" } } };
        await agent.Agent.UpdateInterfacesAsync(new UpdateInterfacesRequest { Interfaces = { wanted } }, AgentClient.Soon);
        Assert.Contains("inet 10.77.0.2/16", await ShellAsync(agent, "ip addr show net1"), StringComparison.Ordinal);
        var unknown = await Assert.ThrowsAsync<RpcException>(async () => await agent.Agent.UpdateInterfacesAsync(
            new UpdateInterfacesRequest { Interfaces = { new Interface { Name = "net2", HwAddr = "52:54:00:00:00:01" } } }, AgentClient.Soon));
        Assert.Equal(StatusCode.NotFound, unknown.StatusCode);
    }

    [Fact]
    public async Task Codes_of_many_containers_are_their_own()
    {
        using var agent = await bed.OpenAsync();
        // Bit 16 is SIGCHLD: .NET would reap as pid 1.
        var caught = await ShellAsync(agent, "sed -n s/^SigCgt:.//p /proc/1/status");
        Assert.Equal(0ul, ulong.Parse(caught, System.Globalization.NumberStyles.HexNumber, null) & (1ul << 16));
        for (var round = 0; round < 8; round++)
        {
            var runs = Enumerable.Range(1, 5).Select(code => agent.RunAsync(bed.NewId("many"), "sh", "-c", $"sleep 0.1; exit {code}")).ToList();
            Assert.Equal([1u, 2, 3, 4, 5], (await Task.WhenAll(runs)).Select(result => result.Code));
        }
    }

    [Fact]
    public async Task Processor_that_is_plugged_in_is_used()
    {
        using var agent = await bed.OpenAsync();
        Assert.Equal("0", await ShellAsync(agent, "cat /sys/devices/system/cpu/online"));
        await bed.Machine.ResizeAsync(2, null, CancellationToken.None);
        for (var i = 0; await ShellAsync(agent, "cat /sys/devices/system/cpu/online") != "0-1"; i++)
        {
            Assert.True(i < 100, "the processor is not used: " + bed.Console);
            await Task.Delay(50);
        }
    }

    private static void Limit(JsonObject spec, long memory) => spec["linux"]!["resources"] = new JsonObject
    {
        ["memory"] = new JsonObject { ["limit"] = memory, ["swap"] = memory },
        ["pids"] = new JsonObject { ["limit"] = 32 },
    };

    private static async Task<Metrics> MetricsAsync(AgentClient agent, string id)
    {
        var stats = await agent.Tasks.StatsAsync(new StatsRequest { Id = id }, AgentClient.Soon);
        Assert.True(TypeUrl.TryUnpack<Metrics>(stats.Stats, out var metrics));
        return metrics;
    }

    private static async Task<string> ShellAsync(AgentClient agent, string command) =>
        (await agent.Agent.ExecVMProcessAsync(new ExecVMProcessRequest { Command = command }, AgentClient.Soon)).Out.Trim();
}
