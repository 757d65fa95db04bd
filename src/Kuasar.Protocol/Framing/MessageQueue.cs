using System.Diagnostics.CodeAnalysis;
using System.Threading.Tasks.Sources;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// Received messages of one stream, from the connection's reader to one consumer. ttrpc has no flow control and the reader must
/// not wait for a consumer (containerd/ttrpc#72, #94, #168), so the queue has a byte limit and refuses what goes over; so does
/// the total of the connection, where there is one. Running the queue as a work item wakes the consumer.
/// </summary>
internal sealed class MessageQueue<T>(long limit, ReceivedBytes? total = null) : IValueTaskSource<bool>, IThreadPoolWorkItem
{
    /// <summary>Charged per message, so that empty ones are bounded too.</summary>
    private const int Overhead = 128;

    /// <summary>Larger batches are not kept for reuse.</summary>
    private const int MaxKept = 1024;

    private readonly Lock _lock = new();
    private List<(T Message, int Size)> _incoming = []; // under the lock
    private List<(T Message, int Size)> _batch = []; // the consumer's
    private int _next; // in the batch
    private long _held; // bytes; the reader adds, the consumer and Release take away
    private bool _waiting; // the consumer, and nobody has set out to wake it
    private bool _completed;
    private Exception? _error;
    private ManualResetValueTaskSourceCore<bool> _wake;
    private CancellationTokenRegistration _cancellation;
    private CancellationToken _token;

    /// <summary>As the other overload; a consumer that waits is woken by the pool.</summary>
    internal bool TryEnqueue(T message, long wireSize)
    {
        var taken = TryEnqueue(message, wireSize, out var wake);
        if (wake is not null)
        {
            ThreadPool.UnsafeQueueUserWorkItem(wake, preferLocal: false);
        }
        return taken;
    }

    /// <summary>False: the consumer is too slow and the stream must fail. One message fits at any size.</summary>
    /// <param name="message">The message.</param>
    /// <param name="wireSize">Its bytes on the wire.</param>
    /// <param name="wake">Not null: a consumer waits, and this must be run to wake it.</param>
    internal bool TryEnqueue(T message, long wireSize, out IThreadPoolWorkItem? wake)
    {
        var size = (int)wireSize + Overhead;
        lock (_lock)
        {
            wake = null;
            var held = Volatile.Read(ref _held);
            if (_completed || (held > 0 && held + size > limit) || total?.TryTake(size) == false)
            {
                return false;
            }
            Interlocked.Add(ref _held, size);
            _incoming.Add((message, size));
            if (_waiting)
            {
                _waiting = false;
                wake = this;
            }
            return true;
        }
    }

    /// <summary>No more comes; what is queued is still read, then <paramref name="error"/> is thrown.</summary>
    internal void Complete(Exception? error = null)
    {
        lock (_lock)
        {
            if (_completed)
            {
                return;
            }
            _completed = true;
            _error = error;
            if (!_waiting)
            {
                return;
            }
            _waiting = false;
        }
        _wake.RunContinuationsAsynchronously = true;
        if (error is null)
        {
            _wake.SetResult(false);
        }
        else
        {
            _wake.SetException(error);
        }
    }

    /// <summary>True: a message is there. False: none will come. One wait at a time.</summary>
    internal ValueTask<bool> WaitAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_incoming.Count > 0 || _next < _batch.Count)
            {
                return new(true);
            }
            if (_completed)
            {
                return _error is null ? new(false) : ValueTask.FromException<bool>(_error);
            }
            if (cancellationToken.IsCancellationRequested)
            {
                return ValueTask.FromCanceled<bool>(cancellationToken);
            }
            _wake.Reset();
            _waiting = true;
        }
        if (cancellationToken.CanBeCanceled)
        {
            _token = cancellationToken;
            _cancellation = cancellationToken.UnsafeRegister(static queue => ((MessageQueue<T>)queue!).OnCancelled(), this);
        }
        return new(this, _wake.Version);
    }

    internal bool TryDequeue([MaybeNullWhen(false)] out T message)
    {
        if (_next == _batch.Count && !TakeBatch())
        {
            message = default;
            return false;
        }
        (message, var size) = _batch[_next];
        _batch[_next++] = default;
        GiveBack(size);
        return true;
    }

    /// <summary>Completed, and its owner has gone: the total counts its messages no more, whether or not they are read.</summary>
    internal void Release() => total?.GiveBack(Interlocked.Exchange(ref _held, 0));

    /// <summary>Wakes the consumer, on this thread.</summary>
    void IThreadPoolWorkItem.Execute()
    {
        _wake.RunContinuationsAsynchronously = false;
        _wake.SetResult(true);
    }

    bool IValueTaskSource<bool>.GetResult(short token)
    {
        _cancellation.Dispose();
        _cancellation = default;
        return _wake.GetResult(token);
    }

    ValueTaskSourceStatus IValueTaskSource<bool>.GetStatus(short token) => _wake.GetStatus(token);

    void IValueTaskSource<bool>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _wake.OnCompleted(continuation, state, token, flags);

    private void GiveBack(int size)
    {
        while (Volatile.Read(ref _held) is var held && held >= size) // less: released
        {
            if (Interlocked.CompareExchange(ref _held, held - size, held) == held)
            {
                total?.GiveBack(size);
                return;
            }
        }
    }

    private bool TakeBatch()
    {
        if (_batch.Capacity > MaxKept)
        {
            _batch = [];
        }
        _batch.Clear();
        _next = 0;
        lock (_lock)
        {
            (_incoming, _batch) = (_batch, _incoming);
        }
        return _batch.Count > 0;
    }

    private void OnCancelled()
    {
        lock (_lock)
        {
            if (!_waiting)
            {
                return;
            }
            _waiting = false;
        }
        _wake.RunContinuationsAsynchronously = true;
        _wake.SetException(new OperationCanceledException(_token));
    }
}
