using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Conformance.Tests;

/// <content>A manager dies and another takes over.</content>
public abstract partial class DriverConformance
{
    [Fact]
    public async Task A_running_machine_is_taken_over_with_all_that_belongs_to_it()
    {
        var first = await BootAsync(ConfigWithFolder() with { Disks = [new VmDisk("disk-1", _scratch.File("disk.img"))] });
        await _bench.RememberAsync(first, "what was");
        var others = _saved!.Clone();
        others.Hypervisor = "another";
        await RefusedAsync(VmError.WrongState, () => _bench.Hypervisor.RecoverAsync(others, Environment(others.WorkDirectory), Limit));
        await LetGoAsync(first);

        var second = await TakeOverAsync();
        Assert.Equal(VmState.Running, second.State);
        Assert.Equal(first.ProcessId, second.ProcessId);
        Assert.Equal("what was", await _bench.RecallAsync(second));
        if (Can(VmCapabilities.Pause))
        {
            await second.PauseAsync(Limit);
            await LetGoAsync(second);
            second = await TakeOverAsync();
            Assert.Equal(VmState.Paused, second.State);
            await second.ResumeAsync(Limit);
        }
        await _bench.EchoAsync(second, Limit);
        await _bench.ResetAsync(second);
        // It is another's child: only what it said itself is known of its end.
        await EndAsync(second);
        AssertNothingLeft(second);
    }

    [Fact]
    public async Task A_machine_that_ended_while_nobody_looked_is_found_ended()
    {
        var machine = await StartAsync();
        var record = _saved!.Clone();
        await machine.KillAsync();
        _saved = record;
        var found = await TakeOverAsync();
        Assert.Equal(VmState.Ended, found.State);
        await EndAsync(found);
        AssertNothingLeft(found);
    }

    [Fact]
    public async Task What_a_manager_left_that_died_before_the_guest_ran_is_ended()
    {
        var machine = await StartAsync();
        _saved!.State = VmRecord.Types.State.Created;
        await LetGoAsync(machine);
        var found = await TakeOverAsync();
        Assert.Equal(VmState.Ended, found.State);
        AssertNothingLeft(found);
    }

    [Fact]
    public async Task A_pause_that_nobody_wrote_down_is_undone()
    {
        var machine = await BootAsync();
        var record = _saved!.Clone();
        await machine.PauseAsync(Limit);
        await LetGoAsync(machine);
        _saved = record;
        var found = await TakeOverAsync();
        Assert.Equal(VmState.Running, found.State);
        await _bench.EchoAsync(found, Limit);
    }

    [Fact]
    public async Task A_hotplug_that_was_half_done_is_undone()
    {
        var machine = await BootAsync();
        if (!Can(VmCapabilities.HotplugDisk))
        {
            // A refused one is none.
            await RefusedAsync(VmError.Unsupported, () => machine.AddDeviceAsync(new VmDisk("there", _scratch.File("there.img")), Limit));
            await LetGoAsync(machine);
            await _bench.EchoAsync(await TakeOverAsync(), Limit);
            Assert.Empty(_saved!.Devices);
            return;
        }
        await machine.AddDeviceAsync(new VmDisk("there", _scratch.File("there.img")), Limit);
        await LetGoAsync(machine);
        _saved!.Devices[0].Change = VmDeviceRecord.Types.Change.Adding;
        _saved.Devices.Add(new VmDeviceRecord { Id = "never", Disk = new() { Path = "/no/image" }, Change = VmDeviceRecord.Types.Change.Adding });
        var found = await TakeOverAsync();
        Assert.Empty(_saved!.Devices);
        // Its id is free again.
        await found.AddDeviceAsync(new VmDisk("there", _scratch.File("there.img")), Limit);
        await _bench.EchoAsync(found, Limit);
    }

    // As when its manager dies; only quicker.
    private async Task LetGoAsync(VirtualMachine machine)
    {
        await machine.DisposeAsync();
        _machines.Remove(machine);
    }

    private async Task<VirtualMachine> TakeOverAsync()
    {
        var record = VmRecord.Parser.ParseFrom(Google.Protobuf.MessageExtensions.ToByteArray(_saved!));
        var machine = await _bench.Hypervisor.RecoverAsync(record, Environment(record.WorkDirectory), Limit);
        _machines.Add(machine);
        return machine;
    }
}
