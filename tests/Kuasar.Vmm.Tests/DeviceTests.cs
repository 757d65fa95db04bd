using Kuasar.Linux;
using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Tests;

/// <summary>Devices and vcpus that come and go while the guest runs.</summary>
public sealed class DeviceTests
{
    private const string LongId = "a-disk-with-an-id-of-32-letters-";

    [Fact]
    public async Task DisksComeAndGo()
    {
        await using var guest = await QemuGuest.BootAsync(
            Programs.Options with { HotplugSlots = 1 },
            (guest, config) => config with { Disks = [new VmDisk("cold", guest.NewDisk("cold", "of the boot")) { ReadOnly = true }] });
        Assert.Equal("of the boot", await guest.RunAsync("busybox head -c 11 /dev/vda"));
        Assert.Equal("1", await guest.RunAsync("cat /sys/block/vda/ro"));

        var hot = new VmDisk(LongId, guest.NewDisk("hot", "plugged in"));
        await guest.Machine.AddDeviceAsync(hot, CancellationToken.None);
        await guest.UntilAsync("ls /sys/block", text => text.Contains("vdb", StringComparison.Ordinal));
        Assert.Equal(LongId[..20], await guest.RunAsync("cat /sys/block/vdb/serial"));
        await guest.RunAsync("printf written | busybox dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null");
        Assert.Equal("written", File.ReadLines(hot.Path).First()[..7]);

        await RefusedAsync(VmError.InvalidConfig, () => guest.Machine.AddDeviceAsync(hot, CancellationToken.None));
        await RefusedAsync(VmError.Refused, () => guest.Machine.AddDeviceAsync(new VmDisk("third", guest.NewDisk("third", "")), CancellationToken.None));
        await RefusedAsync(VmError.NoSuchDevice, () => guest.Machine.RemoveDeviceAsync("nobody", CancellationToken.None));

        await guest.Machine.RemoveDeviceAsync("cold", CancellationToken.None);
        Assert.DoesNotContain("vda", await guest.RunAsync("ls /sys/block"), StringComparison.Ordinal);
        // Its name and its slot are free again.
        await guest.Machine.AddDeviceAsync(new VmDisk("cold", guest.PathOf("cold")), CancellationToken.None);
        await guest.Machine.RemoveDeviceAsync(LongId, CancellationToken.None);
        Assert.Equal(["cold", "state"], guest.Saved.Devices.Select(device => device.Id).Order());

        await guest.Machine.PauseAsync(CancellationToken.None);
        await RefusedAsync(VmError.WrongState, () => guest.Machine.RemoveDeviceAsync("cold", CancellationToken.None));
        await RefusedAsync(VmError.WrongState, () => guest.Machine.AddDeviceAsync(new VmDisk("late", guest.PathOf("third")), CancellationToken.None));
        Assert.Equal(["cold", "state"], guest.Saved.Devices.Select(device => device.Id).Order());
    }

    [Fact]
    public async Task FoldersInterfacesAndVcpusComeAndGo()
    {
        // An open tap at the boot, which no process inherits.
        const string ColdAddress = "02:00:00:00:00:08";
        using var cold = Libc.CreateTap("kvtest1");
        await using var guest = await QemuGuest.BootAsync(
            change: (_, config) => config with { MaxVcpus = 2, Nets = [new VmNet("cold", ColdAddress) { Tap = cold }] });
        Assert.Contains(ColdAddress, await guest.RunAsync("cat /sys/class/net/*/address"), StringComparison.Ordinal);
        await File.WriteAllTextAsync(Path.Combine(guest.Share, "note"), "from the host");
        Assert.Equal("from the host", await guest.RunAsync("cat /run/kuasar/state/note"));
        var folder = Directory.CreateDirectory(guest.PathOf("more")).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "file"), "shared");
        await guest.Machine.AddDeviceAsync(new VmFileSystem("more", "more", folder), CancellationToken.None);
        await guest.UntilAsync("mount -t virtiofs more /mnt 2>/dev/null; cat /mnt/file 2>/dev/null; true", text => text == "shared");
        var daemon = guest.Saved.Processes.First(process => process.Role == "more").Process.Pid;
        await guest.RunAsync("busybox umount /mnt");
        await guest.Machine.RemoveDeviceAsync("more", CancellationToken.None);
        Assert.False(QemuGuest.IsAlive(daemon));
        Assert.DoesNotContain(guest.Saved.Processes, process => process.Role == "more");

        const string Address = "02:00:00:00:00:07";
        using (var tap = Libc.CreateTap("kvtest0"))
        {
            await guest.Machine.AddDeviceAsync(new VmNet("n0", Address) { Tap = tap }, CancellationToken.None);
        }
        await guest.UntilAsync("cat /sys/class/net/*/address", text => text.Contains(Address, StringComparison.Ordinal));
        await guest.Machine.RemoveDeviceAsync("n0", CancellationToken.None);
        Assert.DoesNotContain(Address, await guest.RunAsync("cat /sys/class/net/*/address"), StringComparison.Ordinal);
        Assert.False(Path.Exists("/sys/class/net/kvtest0"));

        await guest.Machine.ResizeAsync(2, null, CancellationToken.None);
        await guest.UntilAsync("ls /sys/devices/system/cpu", text => text.Contains("cpu1", StringComparison.Ordinal));
        await RefusedAsync(VmError.Unsupported, () => guest.Machine.ResizeAsync(1, null, CancellationToken.None));
        Assert.Equal("alive", await guest.RunAsync("echo alive"));
    }

    private static async Task RefusedAsync(VmError error, Func<Task> act) => Assert.Equal(error, (await Assert.ThrowsAsync<VmException>(act)).Error);
}
