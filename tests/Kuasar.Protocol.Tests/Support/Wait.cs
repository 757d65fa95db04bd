namespace Kuasar.Protocol.Tests.Support;

internal static class Wait
{
    /// <summary>What a test waits before it fails; never what it waits to pass.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    /// <summary>For states without an event, as counters.</summary>
    public static async Task Until(Func<bool> condition)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Limit, "the condition did not come true");
            await Task.Delay(1);
        }
    }

    public static Task<T> Within<T>(this Task<T> task) => task.WaitAsync(Limit);

    public static Task Within(this Task task) => task.WaitAsync(Limit);

    public static Task<T> Within<T>(this ValueTask<T> task) => task.AsTask().WaitAsync(Limit);
}
