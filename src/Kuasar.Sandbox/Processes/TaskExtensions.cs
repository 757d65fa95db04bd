namespace Kuasar.Sandbox.Processes;

internal static class TaskExtensions
{
    /// <summary>Whether the task ends, however it ends, within the limit.</summary>
    internal static async Task<bool> EndsWithinAsync(this Task task, TimeSpan limit, TimeProvider time)
    {
        await task.WaitAsync(limit, time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return task.IsCompleted;
    }
}
