namespace Kuasar.Sandbox.Processes;

internal static class CleanUp
{
    /// <summary>
    /// For steps of a clean-up, where one that fails must not keep the others from being taken. A function, since what an author wrote
    /// may also throw before there is a task.
    /// </summary>
    internal static async Task TryAsync(Func<Task> step)
    {
        try
        {
            await step().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // that is its purpose
        catch (Exception)
#pragma warning restore CA1031
        {
            // The step that follows says what is left.
        }
    }
}
