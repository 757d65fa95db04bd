namespace Kuasar.Sandbox.Tests.Support;

internal static class Within
{
    /// <summary>What a test waits before it fails; never what it waits to pass.</summary>
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    internal static Task<T> InTime<T>(this Task<T> task) => task.WaitAsync(Limit);

    internal static Task InTime(this Task task) => task.WaitAsync(Limit);

    internal static Task InTime(this ValueTask task) => task.AsTask().WaitAsync(Limit);

    /// <summary>For states without an event, as what /proc shows.</summary>
    internal static async Task Until(Func<bool> condition, string what = "the condition")
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Limit, $"{what} did not come true");
            await Task.Delay(1);
        }
    }

    internal static async Task<SandboxException> Fails(SandboxError kind, Func<Task> call)
    {
        var error = await Assert.ThrowsAsync<SandboxException>(() => call().InTime());
        Assert.Equal(kind, error.Error);
        return error;
    }
}
