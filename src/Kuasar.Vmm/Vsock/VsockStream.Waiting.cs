using System.Diagnostics;
using Kuasar.Linux;
using Kuasar.Vmm.Vsock;

namespace Kuasar.Vmm;

/// <content>How it waits.</content>
public sealed partial class VsockStream
{
    private const int Brisk = 2;
    private static readonly TimeSpan s_briskWait = TimeSpan.FromMilliseconds(2);

    /// <summary>Threads of the pool that may wait in the kernel at one time; the pool has one for each processor at first.</summary>
    private static readonly int s_maxWaiting = Math.Max(1, Environment.ProcessorCount / 2);

    private static int s_waiting;
    private int _brisk; // the reader's: how many late answers it takes until it no longer waits in the kernel

    internal ValueTask<int> ReceiveAsync(Memory<byte> buffer, int flags, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<int>(cancellationToken);
        }
        try
        {
            var count = ReceiveNow(buffer, flags, out var isLate);
            return count == -Libc.EAGAIN ? ReceiveLaterAsync(buffer, flags, isLate, cancellationToken) : new ValueTask<int>(Checked("recv", count));
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            return ValueTask.FromException<int>(error);
        }
    }

    /// <summary>
    /// Waits in the kernel if the last answers were quick, and this thread has nothing else to do: late, it has waited in vain. What is asked
    /// there is not asked before, as the answer is yet to come as a rule.
    /// </summary>
    private int ReceiveNow(Memory<byte> buffer, int flags, out bool isLate)
    {
        isLate = false;
        // Pending: perhaps the one who will make the other end say more.
        if (_brisk == 0 || ThreadPool.PendingWorkItemCount > 0)
        {
            return TryReceive(buffer, flags);
        }
        try
        {
            if (Interlocked.Increment(ref s_waiting) <= s_maxWaiting)
            {
                isLate = !Libc.WaitReady(_socket.SafeHandle, Libc.POLLIN, s_briskWait);
                _brisk = isLate ? _brisk - 1 : Brisk;
            }
        }
        finally
        {
            Interlocked.Decrement(ref s_waiting);
        }
        return isLate ? -Libc.EAGAIN : TryReceive(buffer, flags);
    }

    private async ValueTask<int> ReceiveLaterAsync(Memory<byte> buffer, int flags, bool isLate, CancellationToken cancellationToken)
    {
        int count;
        do
        {
            var start = Stopwatch.GetTimestamp();
            await WaitAsync(ReadyPoller.Reads, cancellationToken).ConfigureAwait(false);
            if (!isLate)
            {
                _brisk = Stopwatch.GetElapsedTime(start) < s_briskWait ? Brisk : 0;
            }
        }
        while ((count = TryReceive(buffer, flags)) == -Libc.EAGAIN);
        return Checked("recv", count);
    }

    private int TryReceive(Memory<byte> buffer, int flags) =>
        buffer.IsEmpty ? Peek() : Libc.TryReceive(_socket.SafeHandle, buffer.Span, wait: false, flags);

    private async ValueTask WriteLaterAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        while (!(buffer = SendSome(buffer)).IsEmpty)
        {
            await WaitAsync(ReadyPoller.Writes, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Sends as much as there is room for: the rest.</summary>
    private ReadOnlyMemory<byte> SendSome(ReadOnlyMemory<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var count = Libc.TrySend(_socket.SafeHandle, buffer.Span[..Math.Min(buffer.Length, _maxWrite)]);
            if (count == -Libc.EAGAIN)
            {
                break;
            }
            buffer = buffer[Checked("send", count)..];
        }
        return buffer;
    }

    /// <summary>0 when there is something to read, the end included; or -errno.</summary>
    private int Peek()
    {
        Span<byte> one = stackalloc byte[1];
        return Math.Min(0, Libc.TryReceive(_socket.SafeHandle, one, wait: false, Libc.MSG_PEEK));
    }

    private async ValueTask WaitAsync(ReadyPoller poller, CancellationToken cancellationToken)
    {
        using var linked = cancellationToken.CanBeCanceled
            ? CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposed.Token)
            : null;
        try
        {
            await poller.WaitAsync(_socket.SafeHandle, linked?.Token ?? _disposed.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_disposed.IsCancellationRequested)
        {
            throw new ObjectDisposedException(nameof(VsockStream));
        }
        catch (OperationCanceledException)
        {
            throw new OperationCanceledException(cancellationToken);
        }
    }
}
