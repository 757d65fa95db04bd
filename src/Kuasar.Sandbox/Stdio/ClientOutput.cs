using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// Where the output of a process of elsewhere is given to its client. A client at a fifo gets each byte once, whenever the sandboxer is killed
/// (<see cref="OutputStage"/>); in a file, what was under way then may be there twice.
/// </summary>
internal sealed class ClientOutput : ClientStream
{
    private readonly OutputStage _stage;
    private readonly Task _leftOver;

    /// <param name="loop">Where it waits.</param>
    /// <param name="handle">Owned; non-blocking.</param>
    /// <param name="stage">Owned. What an earlier life has left there goes first.</param>
    internal ClientOutput(EventLoop loop, SafeFileHandle handle, OutputStage stage)
        : base(loop, handle)
    {
        _stage = stage;
        _leftOver = MoveAsync(CancellationToken.None);
    }

    public override bool CanRead => false;

    public override bool CanWrite => true;

    /// <summary>Written, also by earlier lives of the sandboxer.</summary>
    public override long Position { get => _stage.Position; set => throw new NotSupportedException(); }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        await _leftOver.WaitAsync(cancellationToken).ConfigureAwait(false);
        while (!buffer.IsEmpty)
        {
            if (IsFifo)
            {
                // Empty already, unless an earlier write was cancelled.
                await MoveAsync(cancellationToken).ConfigureAwait(false);
                buffer = buffer[Fill(buffer.Span)..];
                await MoveAsync(cancellationToken).ConfigureAwait(false);
            }
            else
            {
                buffer = buffer[await DoneAsync("write", Append(buffer.Span), EventLoop.Out, cancellationToken).ConfigureAwait(false)..];
            }
        }
    }

    private int Fill(ReadOnlySpan<byte> bytes)
    {
        lock (Sync)
        {
            _ = Handle;
            return _stage.Fill(bytes);
        }
    }

    private int Append(ReadOnlySpan<byte> bytes)
    {
        lock (Sync)
        {
            var written = Libc.Write(Handle, bytes);
            _stage.Pass(Math.Max(written, 0));
            return written;
        }
    }

    /// <summary>All that is on the stage, to the client.</summary>
    private async Task MoveAsync(CancellationToken cancellationToken)
    {
        while (!_stage.IsEmpty)
        {
            await DoneAsync("splice", Move(), EventLoop.Out, cancellationToken).ConfigureAwait(false);
        }

        int Move()
        {
            lock (Sync)
            {
                return _stage.MoveTo(Handle);
            }
        }
    }

    /// <summary>Gives the client first what an earlier life has left.</summary>
    public override async ValueTask DisposeAsync()
    {
        await _leftOver.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await base.DisposeAsync().ConfigureAwait(false);
        GC.SuppressFinalize(this);
    }

    protected override void Release()
    {
        base.Release();
        _stage.Dispose();
    }
}
