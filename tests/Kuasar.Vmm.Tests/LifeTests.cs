using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Tests;

/// <summary>Boots: of the machine type that the conformance suite does not have, of what QEMU refuses, and of the documentation's sample.</summary>
public sealed class LifeTests
{
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
        using var scratch = Programs.Scratch();
        var output = new StringWriter();
        await Docs.Tests.Snippets.Microvm.BootAndCallAsync(Programs.Prefix, Programs.Image, scratch.Root, output);
        Assert.Contains("the guest runs Linux 6.", output.ToString(), StringComparison.Ordinal);
        Assert.Contains("it has ended: GuestShutdown", output.ToString(), StringComparison.Ordinal);
    }
}
