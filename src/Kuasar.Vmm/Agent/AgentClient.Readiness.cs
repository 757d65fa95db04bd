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
        using var over = CancellationTokenSource.CreateLinkedTokenSource(either.Token);
        Exception? last = null;
        Task[] ways = callHome is null ? [AskAsync(_options.RetryInterval)] : [HearAsync(callHome), AskAsync(s_fallbackInterval)];
        try
        {
            await (await Task.WhenAny(ways).ConfigureAwait(false)).ConfigureAwait(false);
        }
        catch (Exception error) when (either.IsCancellationRequested && (error is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled }))
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new VsockException(
                VsockFailure.TimedOut, $"the guest agent does not serve after {timeout.TotalSeconds:0.###} s ({Reason(last)})", last);
        }
        finally
        {
            await over.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(ways).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        // A call is enough: only the agent makes it, and to ask as well would cost what the first real call costs.
        async Task HearAsync(VsockListener listener)
        {
            using var call = await listener.AcceptStreamAsync(over.Token).ConfigureAwait(false);
            if (call is null)
            {
                // Disposed.
                await Task.Delay(Timeout.InfiniteTimeSpan, over.Token).ConfigureAwait(false);
            }
        }

        async Task AskAsync(TimeSpan interval)
        {
            if (callHome is not null)
            {
                await Task.Delay(interval, _options.TimeProvider, over.Token).ConfigureAwait(false);
            }
            while (true)
            {
                try
                {
                    // Not left off when the guest calls: the next call would find its dial, and may fail with it.
                    await CheckAsync(either.Token).ConfigureAwait(false);
                    return;
                }
                catch (RpcException error) when (error.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded)
                {
                    last = error;
                }
                await Task.Delay(interval, _options.TimeProvider, over.Token).ConfigureAwait(false);
            }
        }
    }

    private static string Reason(Exception? last) => last switch
    {
        null => "it did not call home",
        RpcException error => error.Status.Detail,
        _ => last.Message,
    };
}
