using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Conformance.Tests;

/// <content>From boot to end.</content>
public abstract partial class DriverConformance
{
    [Fact]
    public async Task A_machine_is_created_without_a_process_and_boots_to_a_guest_that_calls_home()
    {
        var machine = Create();
        Assert.Equal(VmState.Created, machine.State);
        Assert.Empty(_scratch.Processes());

        await using (var home = machine.EndPoint(AgentClient.CallHomePort).Listen())
        {
            await machine.BootAsync(Limit);
            await AnswerAsync(home);
        }

        Assert.Equal(VmState.Running, machine.State);
        await _bench.EchoAsync(machine, Limit);
        Assert.Contains("Linux version", await File.ReadAllTextAsync(_scratch.Path("console")), StringComparison.Ordinal);
        Assert.Equal(VmRecord.Types.State.Running, _saved!.State);
        Assert.Contains(_saved.Processes, process => process.Process.Pid == machine.ProcessId && process.Process.StartTime > 0);
        // What was started to find out whether KVM works has ended.
        Assert.DoesNotContain(_saved.Processes, process => process.Role == "kvm-probe");

        // Nobody else can reach into it.
        const UnixFileMode Others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
            | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;
        Assert.Equal(UnixFileMode.None, File.GetUnixFileMode(machine.Record.WorkDirectory) & Others);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_scratch.Path("console")));
    }

    [Fact]
    public async Task What_does_not_fit_the_state_is_refused_and_changes_nothing()
    {
        var machine = Create();
        await RefusedAsync(VmError.WrongState, () => machine.PauseAsync(Limit));
        await RefusedAsync(VmError.WrongState, () => machine.ResumeAsync(Limit));
        await RefusedAsync(VmError.WrongState, () => machine.SnapshotAsync(_scratch.Path("snapshot"), Limit));
        Assert.Empty(_scratch.Processes());

        await machine.BootAsync(Limit);
        await RefusedAsync(VmError.WrongState, () => machine.BootAsync(Limit));
        await RefusedAsync(VmError.WrongState, () => machine.ResumeAsync(Limit));
        Assert.Equal(VmState.Running, machine.State);

        await machine.KillAsync();
        await RefusedAsync(VmError.Ended, () => machine.PauseAsync(Limit));
        await RefusedAsync(VmError.Ended, () => machine.BootAsync(Limit));
    }

    [Fact]
    public async Task A_guest_that_powers_off_ends_its_machine()
    {
        var machine = await BootAsync(ConfigWithFolder());
        await _bench.PowerOffAsync(machine);
        Assert.Equal(_bench.PowerOffReason, (await EndAsync(machine)).Reason);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task A_guest_that_resets_itself_ends_its_machine_and_is_not_booted_again()
    {
        var machine = await BootAsync(ConfigWithFolder());
        await _bench.ResetAsync(machine);
        Assert.Equal(VmExitReason.GuestReset, (await EndAsync(machine)).Reason);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task A_guest_that_panics_ends_its_machine()
    {
        var machine = await BootAsync(ConfigWithFolder());
        await _bench.PanicAsync(machine);
        Assert.Equal(_bench.PanicReason, (await EndAsync(machine)).Reason);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task A_hypervisor_that_is_killed_by_a_stranger_ends_its_machine()
    {
        var machine = await StartAsync();
        using (var process = System.Diagnostics.Process.GetProcessById(machine.ProcessId))
        {
            process.Kill();
        }
        var exit = await EndAsync(machine);
        Assert.Equal(VmExitReason.Killed, exit.Reason);
        Assert.Contains("137", exit.Detail, StringComparison.Ordinal);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task A_machine_is_killed_in_every_state()
    {
        var created = Create();
        Assert.Equal(VmExitReason.Killed, (await created.KillAsync()).Reason);

        var running = await StartAsync();
        Assert.Equal(VmExitReason.Killed, (await running.KillAsync().WaitAsync(s_endLimit)).Reason);
        Assert.Equal(VmExitReason.Killed, (await running.KillAsync()).Reason);
        AssertNothingLeft(running);
        if (Can(VmCapabilities.Pause))
        {
            var paused = await StartAsync();
            await paused.PauseAsync(Limit);
            Assert.Equal(VmExitReason.Killed, (await paused.KillAsync().WaitAsync(s_endLimit)).Reason);
            AssertNothingLeft(paused);
        }
    }

    [Fact]
    public async Task A_guest_is_powered_down_by_its_button()
    {
        var machine = await BootAsync();
        Assert.Equal(VmExitReason.GuestShutdown, (await machine.PowerDownAsync(TimeSpan.FromSeconds(10), Limit)).Reason);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task A_guest_is_powered_down_by_its_agent_when_there_is_one()
    {
        var machine = await BootAsync();
        machine.GuestPowerOff = _ => _bench.PowerOffAsync(machine);
        Assert.Equal(VmExitReason.GuestShutdown, (await machine.PowerDownAsync(TimeSpan.FromSeconds(10), Limit)).Reason);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task A_guest_that_does_not_listen_is_killed_when_the_time_is_over()
    {
        var machine = await BootAsync();
        await _bench.DeafenAsync(machine);
        Assert.Equal(VmExitReason.Killed, (await machine.PowerDownAsync(TimeSpan.FromMilliseconds(300), Limit)).Reason);
        AssertNothingLeft(machine);
    }

    [Fact]
    public async Task Two_machines_live_side_by_side()
    {
        var (booting, second) = (BootAsync(), await BootAsync());
        var first = await booting;
        await _bench.RememberAsync(first, "one");
        await _bench.RememberAsync(second, "two");
        await first.KillAsync();
        Assert.Equal("two", await _bench.RecallAsync(second));
        await _bench.EchoAsync(second, Limit);
    }

    [Fact]
    public async Task A_boot_that_fails_says_why_and_leaves_nothing()
    {
        var image = _scratch.File("disk.img");
        var machine = Create(Config() with { Disks = [new VmDisk("disk", image)] });
        File.Delete(image);
        var failure = await Assert.ThrowsAsync<VmException>(() => machine.BootAsync(Limit));
        Assert.Contains(image, failure.Message, StringComparison.Ordinal);
        Assert.Equal(VmState.Ended, machine.State);
        Assert.Equal(VmExitReason.HypervisorFailed, (await EndAsync(machine)).Reason);
        AssertNothingLeft(machine);
    }

    /// <summary>At any moment of it: before a process is there, between the daemons and the hypervisor, and after it.</summary>
    [Fact]
    public async Task A_boot_that_is_cancelled_or_killed_leaves_nothing()
    {
        // What is tried once has been tried.
        await StartAsync();
        for (var milliseconds = 0; milliseconds <= 96; milliseconds += 4)
        {
            var machine = Create(ConfigWithFolder());
            using var cancel = new CancellationTokenSource();
            var boot = machine.BootAsync(cancel.Token);
            await Task.Delay(milliseconds, Limit);
            var isKill = milliseconds % 8 == 0;
            if (isKill)
            {
                await machine.KillAsync().WaitAsync(s_endLimit);
            }
            else
            {
                await cancel.CancelAsync();
            }
            var failure = await Record.ExceptionAsync(() => boot);
            if (isKill || failure is not null)
            {
                Assert.True(failure is null or OperationCanceledException or VmException { Error: VmError.Ended }, $"{failure}");
                Assert.Equal(VmState.Ended, machine.State);
                await EndAsync(machine);
            }
            else
            {
                // It was up by then.
                await machine.KillAsync();
            }
            AssertNothingLeft(machine);
        }
    }

    private void AssertNothingLeft(VirtualMachine machine)
    {
        Assert.Equal(VmState.Ended, machine.State);
        Assert.Empty(_saved!.Processes);
        Assert.DoesNotContain(Directory.EnumerateFileSystemEntries(machine.Record.WorkDirectory), path => !path.EndsWith(".log", StringComparison.Ordinal));
        Assert.DoesNotContain(
            _scratch.Processes(), pid => File.ReadAllText($"/proc/{pid}/cmdline").Contains(machine.Record.WorkDirectory + "/", StringComparison.Ordinal));
    }
}
