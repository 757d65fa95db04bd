using System.IO.Pipelines;

namespace Kuasar.Protocol.Transport;

/// <summary>
/// A reader that any thread may complete. Completing a PipeReader frees the buffers, which its loop may be looking at: so what is
/// complete in the midst of a read is cancelled, and completed when the loop has advanced.
/// </summary>
internal sealed class LastingReader(PipeReader inner) : PipeReader
{
    private readonly Lock _lock = new();
    private bool _reading;
    private bool _over;
    private Exception? _error;

    public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (!Begin())
        {
            return new ReadResult(default, isCanceled: true, isCompleted: true);
        }
        try
        {
            return await inner.ReadAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            EndRead();
            throw;
        }
    }

    public override bool TryRead(out ReadResult result)
    {
        if (!Begin())
        {
            result = new ReadResult(default, isCanceled: true, isCompleted: true);
            return true;
        }
        if (inner.TryRead(out result))
        {
            return true;
        }
        EndRead();
        return false;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        if (Volatile.Read(ref _reading))
        {
            inner.AdvanceTo(consumed, examined);
            EndRead();
        }
    }

    public override void CancelPendingRead() => inner.CancelPendingRead();

    public override void Complete(Exception? exception = null)
    {
        lock (_lock)
        {
            if (_over)
            {
                return;
            }
            (_over, _error) = (true, exception);
            if (_reading)
            {
                inner.CancelPendingRead();
                return;
            }
        }
        inner.Complete(exception);
    }

    private bool Begin()
    {
        lock (_lock)
        {
            return !_over && (_reading = true);
        }
    }

    private void EndRead()
    {
        lock (_lock)
        {
            _reading = false;
            if (!_over)
            {
                return;
            }
        }
        inner.Complete(_error);
    }
}
