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
            // Not tried before: the other end has yet to answer, as a rule.
            var isLate = _brisk > 0 && WaitBriskly() == false;
            var count = isLate ? -Libc.EAGAIN : TryReceive(buffer, flags);
            return count != -Libc.EAGAIN ? new ValueTask<int>(Checked("recv", count)) : ReceiveLaterAsync(buffer, flags, isLate, cancellationToken);
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            return ValueTask.FromException<int>(error);
        }
    }

    private async ValueTask<int> ReceiveLaterAsync(Memory<byte> buffer, int flags, bool isLate, CancellationToken cancellationToken)
    {
        int count;
        do
        {
            var start = Stopwatch.GetTimestamp();
            await WaitAsync(ReadyPoller.Reads, cancellationToken).ConfigureAwait(false);
            _brisk = isLate ? _brisk - 1 : Stopwatch.GetElapsedTime(start) < s_briskWait ? Brisk : 0;
        }
        while ((count = TryReceive(buffer, flags)) == -Libc.EAGAIN);
        return Checked("recv", count);
    }

    /// <summary>Whether something came in time; null when enough threads wait already.</summary>
    private bool? WaitBriskly()
    {
        try
        {
            if (Interlocked.Increment(ref s_waiting) > s_maxWaiting)
            {
                return null;
            }
            var isThere = Libc.WaitReady(_socket.SafeHandle, Libc.POLLIN, s_briskWait);
            _brisk = isThere ? Brisk : _brisk;
            return isThere;
        }
        finally
        {
            Interlocked.Decrement(ref s_waiting);
        }
    }

    private int TryReceive(Memory<byte> buffer, int flags) => buffer.IsEmpty ? Peek() : Libc.TryReceive(_socket.SafeHandle, buffer.Span, flags);

    private async ValueTask WriteLaterAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        if (Gate?.WhenOpenAsync(_disposed.Token) is { IsCompleted: false } opening)
        {
            await opening.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
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
        return Math.Min(0, Libc.TryReceive(_socket.SafeHandle, one, Libc.MSG_PEEK));
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
