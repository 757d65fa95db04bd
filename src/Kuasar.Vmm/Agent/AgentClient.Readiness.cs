using Grpc.Core;

namespace Kuasar.Vmm;

/// <content>When the guest serves.</content>
public sealed partial class AgentClient
{
    /// <summary>Where a guest that was not given a way to call home is asked too, in case its agent is Kuasar's.</summary>
    private static readonly TimeSpan s_fallbackInterval = TimeSpan.FromMilliseconds(500);

    /// <summary>Waits until the agent serves: until the guest calls home or, where it does not, until it answers a Check.</summary>
    /// <param name="callHome">
    /// Listens on <see cref="CallHomePort"/> since before the guest was started; stays the caller's. Null asks all the time.
    /// </param>
    /// <param name="timeout">For the boot and all of it.</param>
    /// <param name="cancellationToken">Ends the wait; cancel it when the guest has ended.</param>
    /// <exception cref="VsockException">It did not serve in time (TimedOut, with the last failure inside).</exception>
    public async Task WaitReadyAsync(VsockListener? callHome, TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        using var deadline = new CancellationTokenSource(timeout, _options.TimeProvider);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        using var call = CancellationTokenSource.CreateLinkedTokenSource(either.Token);
        var called = callHome is null ? null : AwaitCallAsync(callHome, call.Token);
        Exception? last = null;
        try
        {
            while (true)
            {
                if (called is not null && !called.IsCompleted)
                {
                    await Task.WhenAny(called, Pause(s_fallbackInterval)).ConfigureAwait(false);
                }
                try
                {
                    await CheckAsync(either.Token).ConfigureAwait(false);
                    return;
                }
                catch (RpcException error) when (error.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded)
                {
                    last = error;
                }
                await Pause(_options.RetryInterval).ConfigureAwait(false);
                either.Token.ThrowIfCancellationRequested();
            }
        }
        catch (Exception error) when (either.IsCancellationRequested && (error is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled }))
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new VsockException(
                VsockFailure.TimedOut, $"the guest agent does not serve after {timeout.TotalSeconds:0.###} s ({Reason(last)})", last);
        }
        finally
        {
            await call.CancelAsync().ConfigureAwait(false);
            await (called ?? Task.CompletedTask).ConfigureAwait(false);
        }

        Task Pause(TimeSpan time) =>
            Task.Delay(time, _options.TimeProvider, either.Token).ContinueWith(
                static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    private static async Task AwaitCallAsync(VsockListener listener, CancellationToken cancellationToken)
    {
        try
        {
            using var call = await listener.AcceptStreamAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
        }
    }

    private static string Reason(Exception? last) => last switch
    {
        null => "it did not call home",
        RpcException error => error.Status.Detail,
        _ => last.Message,
    };
}
