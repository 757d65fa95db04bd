namespace Kuasar.Vmm.Agent;

/// <summary>
/// A stream that is read only while somebody wants it to be. ttrpc has no flow control: what is not read stays in the vsock connection,
/// fills its window, and holds the guest's process back, as a pipe would.
/// </summary>
internal sealed class PacedStream(Stream inner) : Stream
{
    private readonly Lock _lock = new();
    private TaskCompletionSource? _shut = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>Lets reads through.</summary>
    internal void Open()
    {
        lock (_lock)
        {
            _shut?.TrySetResult();
            _shut = null;
        }
    }

    /// <summary>Holds reads back; one that is under way ends.</summary>
    internal void Shut()
    {
        lock (_lock)
        {
            _shut ??= new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (Volatile.Read(ref _shut) is { } shut)
        {
            await shut.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        return await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        inner.WriteAsync(buffer, cancellationToken);

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        inner.WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(byte[] buffer, int offset, int count) => inner.Write(buffer, offset, count);

    public override void Flush() => inner.Flush();

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            // Reads that are held back meet the closed stream.
            inner.Dispose();
            Open();
        }
        base.Dispose(disposing);
    }
}
