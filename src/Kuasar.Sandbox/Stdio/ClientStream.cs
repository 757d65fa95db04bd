using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>A client's end of a process's stdio, for a process of elsewhere: it needs no thread while it waits. One call at a time.</summary>
/// <param name="loop">Where it waits.</param>
/// <param name="handle">Owned; non-blocking.</param>
internal abstract class ClientStream(EventLoop loop, SafeFileHandle handle) : Stream
{
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _closing = new();
    private bool _disposed;

    /// <summary>Held during each use of the handle, so that none has an fd that is closed, or another's by now.</summary>
    protected Lock Sync { get; } = new();

    /// <summary>Whether it can be spliced: a file in the fifo's place cannot.</summary>
    protected bool IsFifo { get; } = Libc.IsFifo($"/proc/self/fd/{handle.DangerousGetHandle()}");

    /// <summary>The client's fifo or file.</summary>
    /// <exception cref="ObjectDisposedException">It is closed.</exception>
    protected SafeFileHandle Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return handle;
        }
    }

    /// <summary>When it has been disposed.</summary>
    internal Task Closed => _closed.Task;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>What a call has done, in bytes; none when it was to be done again, after the wait that it takes.</summary>
    /// <param name="call">For errors.</param>
    /// <param name="result">A count, or -errno.</param>
    /// <param name="events">What EAGAIN waits for.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    protected async ValueTask<int> DoneAsync(string call, int result, uint events, CancellationToken cancellationToken)
    {
        switch (result)
        {
            case >= 0:
                return result;
            case -Libc.EAGAIN:
                using (var either = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token, cancellationToken))
                {
                    await loop.WaitAsync(handle, events, either.Token).ConfigureAwait(false);
                }
                return 0;
            case -Libc.EINTR:
                return 0;
            default:
                throw new LinuxException(call, -result);
        }
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => throw new NotSupportedException();

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => throw new NotSupportedException();

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
        if (disposing)
        {
            lock (Sync)
            {
                if (_disposed)
                {
                    return;
                }
                _disposed = true;
                _closing.Cancel();
                Release();
            }
            _closing.Dispose();
            _closed.TrySetResult();
        }
        base.Dispose(disposing);
    }

    /// <summary>Once, under the lock.</summary>
    protected virtual void Release() => handle.Dispose();
}
