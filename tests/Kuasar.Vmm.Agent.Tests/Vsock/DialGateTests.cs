using Kuasar.Vmm.Agent.Tests.Support;
using Kuasar.Vmm.Vsock;

namespace Kuasar.Vmm.Agent.Tests.Vsock;

public sealed class DialGateTests
{
    private readonly DialGate _gate = new();

    [Fact]
    public async Task Shutting_waits_for_dials_and_dials_wait_for_the_opening()
    {
        var first = await _gate.EnterAsync(default);
        var second = await _gate.EnterAsync(default);
        var shut = _gate.ShutAsync(default);
        var late = _gate.EnterAsync(default).AsTask();
        first.Dispose();
        Assert.False(shut.IsCompleted);
        second.Dispose();
        await shut.Within();
        Assert.False(late.IsCompleted);
        _gate.Open();
        (await late.Within()).Dispose();
    }

    [Fact]
    public async Task A_pause_that_is_given_up_leaves_the_gate_open()
    {
        using var pass = await _gate.EnterAsync(default);
        using var cancelled = new CancellationTokenSource();
        var shut = _gate.ShutAsync(cancelled.Token);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => shut.Within());
        (await _gate.EnterAsync(default).Within()).Dispose();
    }

    [Fact]
    public async Task A_dial_may_stop_waiting()
    {
        await _gate.ShutAsync(default);
        using var cancelled = new CancellationTokenSource();
        var dial = _gate.EnterAsync(cancelled.Token).AsTask();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => dial.Within());
        _gate.Open();
        (await _gate.EnterAsync(default).Within()).Dispose();
    }

    [Fact]
    public async Task Dials_get_their_turn_between_pauses()
    {
        await _gate.ShutAsync(default);
        var dial = _gate.EnterAsync(default).AsTask();
        _gate.Open();
        var next = _gate.ShutAsync(default);
        Assert.False(next.IsCompleted);
        (await dial.Within()).Dispose();
        await next.Within();
    }
}
