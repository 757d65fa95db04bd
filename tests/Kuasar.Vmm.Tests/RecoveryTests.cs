using System.Diagnostics;
using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Tests;

/// <summary>Machines that outlive their manager: what the guest sees of a change that was half done. The conformance suite has the rest.</summary>
public sealed class RecoveryTests
{
    [Fact]
    public async Task WhatWasGoingGoesAndADeathMeanwhileIsSeen()
    {
        await using var guest = await QemuGuest.BootAsync();
        var folder = Directory.CreateDirectory(guest.PathOf("more")).FullName;
        await guest.Machine.AddDeviceAsync(new VmFileSystem("more", "more", folder), CancellationToken.None);
        var daemon = guest.Saved.Processes.First(process => process.Role == "more").Process.Pid;
        await guest.Machine.AddDeviceAsync(new VmDisk("hot", guest.NewDisk("hot", "")), CancellationToken.None);
        await guest.UntilAsync("ls /sys/block", text => text.Contains("vda", StringComparison.Ordinal));
        await guest.TakeOverAsync(record =>
        {
            record.Devices.First(device => device.Id == "more").Change = VmDeviceRecord.Types.Change.Removing;
            record.Devices.First(device => device.Id == "hot").Change = VmDeviceRecord.Types.Change.Adding;
        });
        Assert.False(QemuGuest.IsAlive(daemon));
        Assert.Equal(["state"], guest.Saved.Devices.Select(device => device.Id));
        Assert.DoesNotContain("vda", await guest.RunAsync("ls /sys/block"), StringComparison.Ordinal);
        Assert.Equal(VmState.Running, guest.Machine.State);

        var processes = guest.Saved.Processes;
        await guest.Machine.DisposeAsync();
        using (var process = Process.GetProcessById(processes.First(entry => entry.Role == "hypervisor").Process.Pid))
        {
            process.Kill();
        }
        await guest.TakeOverAsync();
        Assert.NotEqual(VmExitReason.GuestShutdown, (await guest.ExitAsync()).Reason);
        guest.AssertNothingIsLeft(processes);
    }

    /// <summary>The earlier manager died before the guest ran: what it had started is ended.</summary>
    [Fact]
    public async Task AMachineThatWasBeingBootedIsUndone()
    {
        await using var guest = new QemuGuest();
        using var daemon = new OwnVmProcesses().Start(new VmCommand("/bin/sleep", ["100"]) { LogFile = guest.PathOf("log") });
        var record = guest.Machine.Record.Clone();
        record.Processes.Add(new VmProcessRecord { Role = "vsock", Process = ProcessIdentity.OfStarted(daemon.ProcessId) });
        await guest.TakeOverAsync(saved => saved.MergeFrom(record));
        Assert.Equal(VmState.Ended, guest.Machine.State);
        await daemon.Exited.WaitAsync(TimeSpan.FromSeconds(5));
        Assert.False(QemuGuest.IsAlive(daemon.ProcessId));
    }
}
