using System.Diagnostics;
using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Tests;

/// <summary>Ends that nobody has asked for: seen within two seconds, with the reason, and nothing is left.</summary>
public sealed class DeathTests
{
    [Theory]
    [InlineData("echo c >/proc/sysrq-trigger", VmExitReason.GuestPanic)]
    [InlineData("busybox reboot -f", VmExitReason.GuestReset)]
    [InlineData("busybox poweroff -f", VmExitReason.GuestShutdown)]
    public async Task OfTheGuest(string command, VmExitReason reason)
    {
        await using var guest = await QemuGuest.BootAsync();
        var processes = guest.Saved.Processes;
        var last = guest.RunLastAsync(command);
        // The guest takes its time; what it has done is seen at once.
        var exit = await guest.Machine.Exited.WaitAsync(TimeSpan.FromSeconds(10));
        await last;
        Assert.Equal(reason, exit.Reason);
        guest.AssertNothingIsLeft(processes);
    }

    [Theory]
    [InlineData("hypervisor", VmExitReason.Killed)]
    [InlineData("vsock", VmExitReason.DaemonFailed)]
    [InlineData("state", VmExitReason.DaemonFailed)]
    public async Task OfAProcess(string role, VmExitReason reason)
    {
        await using var guest = await QemuGuest.BootAsync();
        var processes = guest.Saved.Processes;
        using (var process = Process.GetProcessById(processes.First(entry => entry.Role == role).Process.Pid))
        {
            process.Kill();
        }
        var exit = await guest.ExitAsync();
        Assert.Equal(reason, exit.Reason);
        Assert.Contains("137", exit.Detail, StringComparison.Ordinal);
        guest.AssertNothingIsLeft(processes);
    }
}
