namespace Kuasar.Vmm.Conformance.Tests;

/// <content>Snapshots.</content>
public abstract partial class DriverConformance
{
    [Fact]
    public async Task A_saved_machine_is_restored_as_it_was_and_its_first_life_goes_on()
    {
        if (!_bench.CanSave)
        {
            await IsNotSavedAsync(Config());
            return;
        }
        var config = Config() with { Disks = [new VmDisk("disk-1", _scratch.File("disk.img"))] };
        var snapshot = _scratch.Path("snapshot");
        var first = await BootAsync(config);
        await _bench.RememberAsync(first, "what was");
        await RefusedAsync(VmError.WrongState, () => first.SnapshotAsync(snapshot, Limit));
        await first.PauseAsync(Limit);
        await first.SnapshotAsync(snapshot, Limit);
        Assert.Equal(VmState.Paused, first.State);
        await first.ResumeAsync(Limit);
        await _bench.RememberAsync(first, "what came after");

        var second = await RestoreAsync(snapshot, config with { ConsoleLog = _scratch.Path("console2") });
        Assert.Equal(VmState.Paused, second.State);
        await second.ResumeAsync(Limit);
        Assert.Equal("what was", await _bench.RecallAsync(second));
        await _bench.EchoAsync(second, Limit);
        Assert.Equal("what came after", await _bench.RecallAsync(first));

        // A second of one snapshot, and one after the machine that was saved has gone.
        await first.KillAsync();
        var third = await RestoreAsync(snapshot, config with { ConsoleLog = _scratch.Path("console3") });
        await third.ResumeAsync(Limit);
        await _bench.RememberAsync(third, "the third");
        Assert.Equal("what was", await _bench.RecallAsync(second));

        await _bench.ResetAsync(second);
        Assert.Equal(VmExitReason.GuestReset, (await EndAsync(second)).Reason);
        AssertNothingLeft(second);
    }

    [Fact]
    public async Task What_is_no_snapshot_is_refused_and_leaves_nothing()
    {
        var folder = _scratch.Folder("empty");
        await Assert.ThrowsAsync<VmException>(() => RestoreAsync(folder, Config()));
        Assert.Empty(_scratch.Processes());
    }

    [Fact]
    public async Task A_machine_with_a_shared_folder_cannot_be_saved()
    {
        if (!Can(VmCapabilities.FileSystem))
        {
            await RefusedAsync(VmError.Unsupported, () => Task.FromResult(Create(Config() with { FileSystems = [Folder()] })));
            return;
        }
        Assert.Contains("share", (await IsNotSavedAsync(ConfigWithFolder())).Message, StringComparison.Ordinal);
    }

    // It is refused, and does no harm.
    private async Task<VmException> IsNotSavedAsync(VmConfig config)
    {
        var machine = await BootAsync(config);
        await machine.PauseAsync(Limit);
        var refusal = await RefusedAsync(VmError.Unsupported, () => machine.SnapshotAsync(_scratch.Path("snapshot"), Limit));
        Assert.Equal(VmState.Paused, machine.State);
        await machine.ResumeAsync(Limit);
        await _bench.EchoAsync(machine, Limit);
        return refusal;
    }

    private async Task<VirtualMachine> RestoreAsync(string snapshot, VmConfig config)
    {
        var machine = await _bench.Hypervisor.RestoreAsync(snapshot, config, Environment(), Limit);
        _machines.Add(machine);
        return machine;
    }
}
