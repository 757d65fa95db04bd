using Kuasar.Vmm.ApiServers.Guests;

namespace Kuasar.Vmm.Conformance.Tests;

/// <content>vsock, pause and resume.</content>
public abstract partial class DriverConformance
{
    [Fact]
    public async Task Many_connections_are_carried_at_once_and_a_port_where_nobody_listens_is_refused()
    {
        var machine = await BootAsync();
        var failure = await Assert.ThrowsAsync<VsockException>(() => machine.ConnectAsync(_bench.ClosedPort, TimeSpan.FromSeconds(5), Limit));
        Assert.Equal(VsockFailure.Refused, failure.Reason);
        await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => _bench.EchoAsync(machine, Limit)));
    }

    [Fact]
    public async Task A_guest_stands_still_while_it_is_paused_and_goes_on_thereafter()
    {
        var machine = await BootAsync();
        await _bench.RememberAsync(machine, "what was");
        await using var open = await machine.ConnectAsync(_bench.Port, TimeSpan.FromSeconds(5), Limit);
        var closing = await machine.ConnectAsync(_bench.Port, TimeSpan.FromSeconds(5), Limit);

        await machine.PauseAsync(Limit);
        Assert.Equal(VmState.Paused, machine.State);
        // A byte, and the end of a connection, are for later.
        await open.WriteAsync(new byte[1], Limit);
        await closing.DisposeAsync();
        // A dial now would wedge the device for good: it has to wait.
        var echo = _bench.EchoAsync(machine, Limit);
        Assert.NotSame(echo, await Task.WhenAny(echo, Task.Delay(200)));
        await RefusedAsync(VmError.WrongState, () => machine.PauseAsync(Limit));

        await machine.ResumeAsync(Limit);
        Assert.Equal(VmState.Running, machine.State);
        await echo;
        Assert.Equal("what was", await _bench.RecallAsync(machine));
    }

    [Fact]
    public async Task Dials_that_wait_for_a_paused_machine_end_with_it_or_by_their_token()
    {
        var machine = await StartAsync();
        await machine.PauseAsync(Limit);
        using var cancel = new CancellationTokenSource();
        var cancelled = machine.ConnectAsync(Guest.EchoPort, TimeSpan.FromSeconds(5), cancel.Token);
        var waiting = machine.ConnectAsync(Guest.EchoPort, TimeSpan.FromSeconds(5), Limit);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        await machine.KillAsync();
        await Assert.ThrowsAnyAsync<IOException>(() => waiting.WaitAsync(s_endLimit));
    }

    [Fact]
    public async Task Pauses_and_dials_at_once_do_no_harm()
    {
        var machine = await BootAsync();
        using var done = new CancellationTokenSource();
        var dialling = Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
        {
            while (!done.IsCancellationRequested)
            {
                await _bench.EchoAsync(machine, Limit);
            }
        }));
        for (var i = 0; i < 20; i++)
        {
            await machine.PauseAsync(Limit);
            await machine.ResumeAsync(Limit);
        }
        await done.CancelAsync();
        await dialling.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task Pauses_while_the_guest_talks_do_no_harm()
    {
        var machine = await BootAsync();
        var talking = Task.WhenAll(_bench.ListenToAsync(machine), _bench.ListenToAsync(machine));
        while (!talking.IsCompleted)
        {
            await machine.PauseAsync(Limit);
            await machine.ResumeAsync(Limit);
            await Task.Delay(20, Limit);
        }
        await talking;
        await _bench.EchoAsync(machine, Limit);
    }

    [Fact]
    public async Task A_machine_without_vsock_says_so()
    {
        var machine = Create(Config() with { Vsock = null });
        await machine.BootAsync(Limit);
        await RefusedAsync(VmError.Unsupported, () => machine.ConnectAsync(Guest.EchoPort, TimeSpan.FromSeconds(1), Limit));
    }
}
