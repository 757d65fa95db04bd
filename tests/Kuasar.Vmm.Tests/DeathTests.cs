using System.Diagnostics;
using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Tests;

/// <summary>An end that only QEMU's machines have; the conformance suite has the others.</summary>
public sealed class DeathTests
{
    [Fact]
    public async Task OfTheVsockDaemon()
    {
        await using var guest = await QemuGuest.BootAsync();
        var processes = guest.Saved.Processes;
        Assert.Equal(["hypervisor", "state", "vsock"], processes.Select(process => process.Role).Order());
        using (var process = Process.GetProcessById(processes.First(entry => entry.Role == "vsock").Process.Pid))
        {
            process.Kill();
        }
        var exit = await guest.ExitAsync();
        Assert.Equal(VmExitReason.DaemonFailed, exit.Reason);
        Assert.Contains("vsock", exit.Detail, StringComparison.Ordinal);
        Assert.Contains("137", exit.Detail, StringComparison.Ordinal);
        guest.AssertNothingIsLeft(processes);
    }
}
