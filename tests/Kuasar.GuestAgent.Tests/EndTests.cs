using Grpc.Core;
using Kuasar.GuestAgent.Tests.Beds;
using Kuasar.Vmm;
using Kuasar.Vmm.Contracts.Agent;
using AgentClient = Kuasar.GuestAgent.Tests.Beds.AgentClient;
using Task = System.Threading.Tasks.Task;

namespace Kuasar.GuestAgent.Tests;

/// <summary>Ends its guest.</summary>
public sealed class PowerOffTests(MachineBed bed) : IClassFixture<MachineBed>
{
    [Fact]
    public async Task Guest_that_is_asked_to_ends_its_containers_and_switches_itself_off()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("last");
        Bundle.Write(Path.Combine(bed.Share, id), ["sleep", "1000"]);
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        var wait = agent.WaitAsync(id);
        await agent.ShutdownAsync();
        Assert.Equal(137u, await wait);
        Assert.Equal(VmExitReason.GuestShutdown, (await bed.EndAsync()).Reason);
        Assert.DoesNotContain("panic", bed.Console, StringComparison.OrdinalIgnoreCase);
    }
}

/// <summary>Ends its guest.</summary>
public sealed class PowerButtonTests(MachineBed bed) : IClassFixture<MachineBed>
{
    [Fact]
    public async Task Guest_whose_button_is_pressed_switches_itself_off()
    {
        using var agent = await bed.OpenAsync();
        await agent.Agent.CheckAsync(new CheckRequest(), AgentClient.Soon);
        Assert.Equal(VmExitReason.GuestShutdown, (await bed.Machine.PowerDownAsync(TimeSpan.FromSeconds(30), CancellationToken.None)).Reason);
        Assert.DoesNotContain("panic", bed.Console, StringComparison.OrdinalIgnoreCase);
    }
}

/// <summary>Ends its guest.</summary>
public sealed class CrashTests(MachineBed bed) : IClassFixture<MachineBed>
{
    [Fact]
    public async Task Guest_whose_agent_crashes_panics_and_ends()
    {
        using var agent = await bed.OpenAsync();
        // Its code, from the first page to be run on, becomes zeros.
        var crash = agent.Agent.ExecVMProcessAsync(
            new ExecVMProcessRequest
            {
                Command = """
                    range=$(busybox awk '/r-xp/ { split($1, a, "-"); print a[1], a[2]; exit }' /proc/1/maps)
                    set -- $range
                    busybox dd if=/dev/zero of=/proc/1/mem bs=4096 seek=$((0x$1 / 4096)) count=$(((0x$2 - 0x$1) / 4096)) conv=notrunc
                    """,
            },
            AgentClient.Soon);
        Assert.Equal(VmExitReason.GuestPanic, (await bed.EndAsync()).Reason);
        Assert.Contains("Attempted to kill init", bed.Console, StringComparison.Ordinal);
        await Assert.ThrowsAsync<RpcException>(async () => await crash);
    }
}
