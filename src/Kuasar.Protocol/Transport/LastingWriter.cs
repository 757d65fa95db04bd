using System.IO.Pipelines;

namespace Kuasar.Protocol.Transport;

/// <summary>A writer that any thread may complete: what is written at that moment is cancelled first. See LastingReader.</summary>
internal sealed class LastingWriter(PipeWriter inner) : PipeWriter
{
    private readonly Lock _lock = new();
    private bool _writing;
    private bool _over;
    private Exception? _error;

    public override Memory<byte> GetMemory(int sizeHint = 0)
    {
        ThrowIfOver();
        return inner.GetMemory(sizeHint);
    }

    public override Span<byte> GetSpan(int sizeHint = 0)
    {
        ThrowIfOver();
        return inner.GetSpan(sizeHint);
    }

    public override void Advance(int bytes) => inner.Advance(bytes);

    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) =>
        WriteAsync(default, cancellationToken);

    public override async ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        if (!Begin())
        {
            return new FlushResult(isCanceled: false, isCompleted: true);
        }
        try
        {
            return source.IsEmpty
                ? await inner.FlushAsync(cancellationToken).ConfigureAwait(false)
                : await inner.WriteAsync(source, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            EndWrite();
        }
    }

    public override void CancelPendingFlush() => inner.CancelPendingFlush();

    public override void Complete(Exception? exception = null)
    {
        lock (_lock)
        {
            if (_over)
            {
                return;
            }
            (_over, _error) = (true, exception);
            if (_writing)
            {
                inner.CancelPendingFlush();
                return;
            }
        }
        inner.Complete(exception);
    }

    private void ThrowIfOver()
    {
        // Writing is taken from here to the flush: the memory must stay while it is filled.
        if (!Begin())
        {
            throw new InvalidOperationException("The connection has ended.");
        }
    }

    private bool Begin()
    {
        lock (_lock)
        {
            // A write that began before the end goes on to its flush.
            return _writing || (!_over && (_writing = true));
        }
    }

    private void EndWrite()
    {
        lock (_lock)
        {
            _writing = false;
            if (!_over)
            {
                return;
            }
        }
        inner.Complete(_error);
    }
}
