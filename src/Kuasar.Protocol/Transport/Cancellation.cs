namespace Kuasar.Protocol.Transport;

internal static class Cancellation
{
    /// <summary>
    /// Cancels on the pool, as callbacks are not ours and may take their time. Nobody hears of what goes wrong there: a source
    /// that is disposed meanwhile, a callback that throws.
    /// </summary>
    internal static void CancelApart(this CancellationTokenSource source) => source.CancelAsync().ContinueWith(
        static task => _ = task.Exception, CancellationToken.None,
        TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
}
