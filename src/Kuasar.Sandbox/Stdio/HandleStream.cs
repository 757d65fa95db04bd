using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>A fifo's end, or a file, as a stream that needs no thread while it waits. One reader and one writer at a time. It owns the handle.</summary>
internal sealed class HandleStream(EventLoop loop, SafeFileHandle handle) : Stream
{
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _closing = new();
    private int _disposed;
    private long _written;

    /// <summary>Whether it is a client's to read.</summary>
    internal bool IsOutput => Count is not null;

    /// <summary>Where it is noted how much was written; it goes on from there. The stream's own; null for a client's input.</summary>
    internal OutputCount? Count
    {
        get;
        init
        {
            field = value;
            _written = value?.Get() ?? 0;
        }
    }

    /// <summary>When it has been disposed.</summary>
    internal Task Closed => _closed.Task;

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    /// <summary>Written, also by earlier lives of the sandboxer.</summary>
    public override long Position { get => _written; set => throw new NotSupportedException(); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            switch (Libc.Read(handle, buffer.Span))
            {
                case >= 0 and var read:
                    return read;
                case -Libc.EAGAIN:
                    await WaitAsync(EventLoop.In, cancellationToken).ConfigureAwait(false);
                    break;
                case not -Libc.EINTR and var error:
                    throw new LinuxException("read", -error);
            }
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            switch (Libc.Write(handle, buffer.Span))
            {
                case >= 0 and var written:
                    buffer = buffer[written..];
                    _written += written;
                    Count?.Set(_written);
                    break;
                case -Libc.EAGAIN:
                    await WaitAsync(EventLoop.Out, cancellationToken).ConfigureAwait(false);
                    break;
                case not -Libc.EINTR and var error:
                    throw new LinuxException("write", -error);
            }
        }
    }

    private async Task WaitAsync(uint events, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token, cancellationToken);
        await loop.WaitAsync(handle, events, either.Token).ConfigureAwait(false);
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override void Write(byte[] buffer, int offset, int count) => WriteAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing && Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _closing.Cancel();
            handle.Dispose();
            Count?.Dispose();
            _closing.Dispose();
            _closed.TrySetResult();
        }
        base.Dispose(disposing);
    }
}
