using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Tests;

/// <summary>From the boot to an end in peace.</summary>
public sealed class LifeTests
{
    private static readonly TimeSpan s_dial = TimeSpan.FromSeconds(5);

    [Fact]
    public async Task AGuestBootsPausesResumesAndPowersOff()
    {
        await using var guest = await QemuGuest.BootAsync();
        var machine = guest.Machine;
        Assert.Equal(VmState.Running, machine.State);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(guest.PathOf("console.log")));
        await File.WriteAllTextAsync(Path.Combine(guest.Share, "note"), "from the host");
        Assert.Equal("from the host", await guest.RunAsync("cat /run/kuasar/state/note"));
        var processes = guest.Saved.Processes;
        Assert.Equal(["hypervisor", "state", "vsock"], processes.Select(process => process.Role).Order());

        var (open, closing) = (await machine.ConnectAsync(AgentClient.Port, s_dial, CancellationToken.None), await machine.ConnectAsync(AgentClient.Port, s_dial, CancellationToken.None));
        await machine.PauseAsync(CancellationToken.None);
        Assert.Equal(VmState.Paused, machine.State);
        // A byte, and the end of a connection, are for later; a dial waits.
        await open.WriteAsync(new byte[1]);
        await closing.DisposeAsync();
        var answer = guest.RunAsync("echo awake");
        await Task.Delay(300);
        Assert.False(answer.IsCompleted);
        var refused = await Assert.ThrowsAsync<VmException>(() => machine.AddDeviceAsync(new VmDisk("late", guest.NewDisk("late", "")), CancellationToken.None));
        Assert.Equal(VmError.WrongState, refused.Error);
        await machine.ResumeAsync(CancellationToken.None);
        Assert.Equal("awake", await answer);
        await open.DisposeAsync();

        // The agent heeds the power button.
        var exit = await machine.PowerDownAsync(TimeSpan.FromSeconds(20), CancellationToken.None);
        Assert.Equal(VmExitReason.GuestShutdown, exit.Reason);
        Assert.Equal(VmState.Ended, machine.State);
        guest.AssertNothingIsLeft(processes);
        Assert.Equal(VmError.Ended, (await Assert.ThrowsAsync<VmException>(() => machine.PauseAsync(CancellationToken.None))).Error);
    }

    [Fact]
    public async Task AMicroVmBootsAndHasNoHotplug()
    {
        await using var guest = await QemuGuest.BootAsync(
            Programs.Options with { Machine = QemuMachineType.MicroVm },
            (guest, config) => config with { Disks = [new VmDisk("data", guest.NewDisk("disk", "cold"))] });
        Assert.Equal("cold", await guest.RunAsync("busybox head -c 4 /dev/vda"));
        var refused = await Assert.ThrowsAsync<VmException>(
            () => guest.Machine.AddDeviceAsync(new VmDisk("more", guest.NewDisk("more", "")), CancellationToken.None));
        Assert.Equal(VmError.Unsupported, refused.Error);
        Assert.Contains(nameof(VmCapabilities.HotplugDisk), refused.Message, StringComparison.Ordinal);
        Assert.Equal(VmExitReason.Killed, (await guest.Machine.KillAsync()).Reason);
    }

    /// <summary>Whatever /dev/kvm is here: the guest comes up.</summary>
    [Fact]
    public async Task KvmIsUsedWhereItRunsGuests()
    {
        await using var guest = await QemuGuest.BootAsync(Programs.Options with { Accelerator = QemuAccelerator.Automatic });
        Assert.DoesNotContain(guest.Saved.Processes, process => process.Role == "kvm-probe");
        Assert.NotEqual("", await guest.RunAsync("cat /proc/sys/kernel/osrelease"));
    }

    [Fact]
    public async Task WhatQemuRefusesIsToldInItsWords()
    {
        await using var guest = new QemuGuest(change: (guest, config) => config with { Kernel = guest.NewDisk("kernel", "no kernel") });
        var refused = await Assert.ThrowsAsync<VmException>(() => guest.Machine.BootAsync(CancellationToken.None));
        Assert.Equal(VmError.Ended, refused.Error);
        Assert.Contains("kernel", refused.Message, StringComparison.Ordinal);
        Assert.Equal(VmExitReason.HypervisorFailed, (await guest.ExitAsync()).Reason);
        guest.AssertNothingIsLeft([]);
    }

    [Fact]
    public async Task TheSampleRuns()
    {
        Programs.Require();
        var folder = Directory.CreateTempSubdirectory("kv-").FullName;
        try
        {
            var output = new StringWriter();
            await Docs.Tests.Snippets.Microvm.BootAndCallAsync(Programs.Prefix, Programs.Image, folder, output);
            Assert.Contains("the guest runs Linux 6.", output.ToString(), StringComparison.Ordinal);
            Assert.Contains("it has ended: GuestShutdown", output.ToString(), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
