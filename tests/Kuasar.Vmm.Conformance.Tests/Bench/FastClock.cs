namespace Kuasar.Vmm.Conformance.Tests.Bench;

/// <summary>A clock whose timers are over sooner, for bounds that nobody wants to wait for.</summary>
internal sealed class FastClock : TimeProvider
{
    internal int Times { get; set; } = 1;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        base.CreateTimer(callback, state, Scale(dueTime), Scale(period));

    private TimeSpan Scale(TimeSpan time) => time > TimeSpan.Zero ? time / Times : time;
}
