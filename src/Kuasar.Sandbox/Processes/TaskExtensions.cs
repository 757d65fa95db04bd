namespace Kuasar.Sandbox.Processes;

internal static class TaskExtensions
{
    /// <summary>Whether the task ends, however it ends, within the limit.</summary>
    internal static async Task<bool> EndsWithinAsync(this Task task, TimeSpan limit, TimeProvider time)
    {
        await task.WaitAsync(limit, time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompleted;
    }

    /// <summary>For steps of a clean-up, where one that fails must not keep the others from being taken.</summary>
    internal static async Task IgnoreErrorsAsync(this Task task) =>
        await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
}
