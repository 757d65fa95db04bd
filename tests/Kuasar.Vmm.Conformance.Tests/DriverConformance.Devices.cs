using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Conformance.Tests;

/// <content>Devices at boot and later, and sizes.</content>
public abstract partial class DriverConformance
{
    private const long Step = 128L << 20;

    [Fact]
    public async Task Devices_at_boot_are_the_machines()
    {
        var config = ConfigWithFolder() with { Disks = [new VmDisk("root-0", _scratch.File("a.img")) { ReadOnly = true }, new VmDisk("data_1", _scratch.File("b.img"))] };
        var machine = await BootAsync(config);
        await _bench.EchoAsync(machine, Limit);
        Assert.Equal(config.Disks.Count + config.FileSystems.Count, _saved!.Devices.Count);
        Assert.Equal(1 + config.FileSystems.Count, _saved.Processes.Count(process => process.Role is "hypervisor" or "share"));
        await machine.KillAsync();
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task What_the_hypervisor_cannot_do_is_refused_before_anything_is_started()
    {
        if (!Can(VmCapabilities.FileSystem))
        {
            var config = Config() with { FileSystems = [Folder()] };
            Assert.Contains("FileSystem", (await RefusedAsync(VmError.Unsupported, () => Task.FromResult(Create(config)))).Message, StringComparison.Ordinal);
        }
        if (!Can(VmCapabilities.ResizeCpu))
        {
            var config = Config() with { MaxVcpus = 4 };
            Assert.Contains("ResizeCpu", (await RefusedAsync(VmError.Unsupported, () => Task.FromResult(Create(config)))).Message, StringComparison.Ordinal);
        }
        if (!Can(VmCapabilities.TapHandle))
        {
            using var tap = File.OpenHandle("/dev/null", FileMode.Open, FileAccess.ReadWrite);
            var config = Config() with { Nets = [new VmNet("eth0", "02:00:00:00:00:01") { Tap = tap }] };
            Assert.Contains("TapHandle", (await RefusedAsync(VmError.Unsupported, () => Task.FromResult(Create(config)))).Message, StringComparison.Ordinal);
        }
        await RefusedAsync(VmError.InvalidConfig, () => Task.FromResult(Create(Config() with { Kernel = "/no/kernel" })));
        await RefusedAsync(VmError.InvalidConfig, () => Task.FromResult(Create(Config() with { Disks = [new VmDisk("a", "/no/image")] })));
        Assert.Empty(_scratch.Processes());
    }

    [Fact]
    public async Task Disks_are_plugged_in_and_out() =>
        await PlugAsync(VmCapabilities.HotplugDisk, new VmDisk("disk-1", _scratch.File("disk.img")), new VmDisk("disk_1", _scratch.File("other.img")));

    [Fact]
    public async Task Shared_folders_are_plugged_in_and_out() =>
        await PlugAsync(
            VmCapabilities.HotplugFileSystem,
            new VmFileSystem("fs1", "one", _scratch.Folder("one")),
            new VmFileSystem("fs2", "two", _scratch.Folder("two")));

    [Fact]
    public async Task A_device_that_is_refused_leaves_nothing()
    {
        var machine = await BootAsync();
        var image = _scratch.File("disk.img");
        if (!Can(VmCapabilities.HotplugDisk))
        {
            await RefusedAsync(VmError.Unsupported, () => machine.AddDeviceAsync(new VmDisk("disk", image), Limit));
            Assert.Empty(_saved!.Devices);
            await _bench.EchoAsync(machine, Limit);
            return;
        }
        await machine.AddDeviceAsync(new VmDisk("disk", image), Limit);
        await RefusedAsync(VmError.InvalidConfig, () => machine.AddDeviceAsync(new VmDisk("disk", image), Limit));
        await RefusedAsync(VmError.InvalidConfig, () => machine.AddDeviceAsync(new VmDisk("other", "/no/image"), Limit));
        await RefusedAsync(VmError.NoSuchDevice, () => machine.RemoveDeviceAsync("never", Limit));
        Assert.Equal(["disk"], _saved!.Devices.Select(device => device.Id));
        await _bench.EchoAsync(machine, Limit);
    }

    [Fact]
    public async Task A_daemon_that_dies_ends_its_machine_and_says_which()
    {
        var machine = await StartAsync(ConfigWithFolder());
        if (!Can(VmCapabilities.FileSystem))
        {
            Assert.Equal("hypervisor", Assert.Single(_saved!.Processes).Role);
            return;
        }
        using (var daemon = System.Diagnostics.Process.GetProcessById(_saved!.Processes.Single(process => process.Role == "share").Process.Pid))
        {
            daemon.Kill();
        }
        var exit = await EndAsync(machine);
        Assert.Equal(VmExitReason.DaemonFailed, exit.Reason);
        Assert.Contains("share", exit.Detail, StringComparison.Ordinal);
        Assert.Contains("137", exit.Detail, StringComparison.Ordinal);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task Cpus_are_added_up_to_the_limit()
    {
        if (!Can(VmCapabilities.ResizeCpu))
        {
            var small = Create();
            await RefusedAsync(VmError.Unsupported, () => small.ResizeAsync(1, null, Limit));
            return;
        }
        var machine = await BootAsync(Config() with { MaxVcpus = 4 });
        await machine.ResizeAsync(3, null, Limit);
        await EventuallyAsync(async () => await _bench.CpusAsync(machine) == 3);
        await RefusedAsync(VmError.InvalidConfig, () => machine.ResizeAsync(5, null, Limit));
        await RefusedAsync(VmError.InvalidConfig, () => machine.ResizeAsync(0, null, Limit));
    }

    [Fact]
    public async Task Memory_is_added_up_to_the_limit()
    {
        if (!Can(VmCapabilities.ResizeMemory))
        {
            var small = Create();
            await RefusedAsync(VmError.Unsupported, () => small.ResizeAsync(null, Step, Limit));
            return;
        }
        var config = Config();
        var machine = await BootAsync(config with { MaxMemoryBytes = config.MemoryBytes + 2 * Step });
        var before = await _bench.MemoryAsync(machine);
        await machine.ResizeAsync(null, config.MemoryBytes + Step, Limit);
        await EventuallyAsync(async () => await _bench.MemoryAsync(machine) - before is null or Step);
        await RefusedAsync(VmError.InvalidConfig, () => machine.ResizeAsync(null, config.MemoryBytes + 3 * Step, Limit));
    }

    // Two of a kind, in and out again; one stays until the machine's end.
    private async Task PlugAsync(VmCapabilities needs, VmDevice device, VmDevice other)
    {
        var machine = await BootAsync();
        if (!Can(needs))
        {
            Assert.Contains($"{needs}", (await RefusedAsync(VmError.Unsupported, () => machine.AddDeviceAsync(device, Limit))).Message, StringComparison.Ordinal);
            Assert.Empty(_saved!.Devices);
            return;
        }
        for (var i = 0; i < 2; i++)
        {
            await machine.AddDeviceAsync(device, Limit);
            await machine.AddDeviceAsync(other, Limit);
            Assert.Equal([device.Id, other.Id], _saved!.Devices.Select(entry => entry.Id));
            Assert.All(_saved.Devices, entry => Assert.Equal(VmDeviceRecord.Types.Change.None, entry.Change));
            await machine.RemoveDeviceAsync(device.Id, Limit);
            Assert.Equal([other.Id], _saved.Devices.Select(entry => entry.Id));
            if (i == 0)
            {
                await machine.RemoveDeviceAsync(other.Id, Limit);
            }
            // A daemon's end was not taken for a failure.
            await Task.Delay(300);
            Assert.Equal(VmState.Running, machine.State);
            await _bench.EchoAsync(machine, Limit);
        }
        await machine.KillAsync();
        AssertNothingLeft(machine);
    }

    private async Task EventuallyAsync(Func<Task<bool>> holds)
    {
        while (!await holds())
        {
            await Task.Delay(20, Limit);
        }
    }
}
