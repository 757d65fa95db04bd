namespace Kuasar.Linux;

/// <summary>A moment on the clock that no one sets; for blocking code, where a TimeProvider has nothing to wait on.</summary>
internal readonly struct Deadline
{
    private readonly long _end;

    private Deadline(long end) => _end = end;

    internal static Deadline After(TimeSpan time) => new(Environment.TickCount64 + (long)time.TotalMilliseconds);

    internal TimeSpan Remaining => TimeSpan.FromMilliseconds(Math.Max(0, _end - Environment.TickCount64));

    internal bool IsOver => Environment.TickCount64 >= _end;
}
