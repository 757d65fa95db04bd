using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>What a client writes for a process of elsewhere. Its position may be set back to what the process has taken (<see cref="InputStage"/>).</summary>
internal sealed class ClientInput : ClientStream
{
    private readonly InputStage _stage;
    private long _position;

    /// <param name="loop">Where it waits.</param>
    /// <param name="handle">Owned; non-blocking.</param>
    /// <param name="stage">Owned. It goes on where an earlier life was.</param>
    internal ClientInput(EventLoop loop, SafeFileHandle handle, InputStage stage)
        : base(loop, handle)
    {
        _stage = stage;
        _position = stage.End;
    }

    public override bool CanRead => true;

    public override bool CanWrite => false;

    /// <summary>Read, also by earlier lives of the sandboxer. Of a fifo it goes back by <see cref="InputStage.Kept"/> bytes at most.</summary>
    public override long Position
    {
        get => _position;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            lock (Sync)
            {
                _ = Handle;
                if (IsFifo && value > _stage.End)
                {
                    _stage.SkipTo(value);
                }
                _position = IsFifo ? Math.Max(value, _stage.Begin) : value;
            }
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            var read = Read();
            if (read == 0 || await DoneAsync("read", read, EventLoop.In, cancellationToken).ConfigureAwait(false) > 0)
            {
                return read;
            }
        }
        return 0;

        int Read()
        {
            lock (Sync)
            {
                if (IsFifo && _position == _stage.End && _stage.Fill(Handle, buffer.Length) is <= 0 and var result)
                {
                    return result;
                }
                var read = IsFifo ? _stage.Read(buffer.Span, _position) : RandomAccess.Read(Handle, buffer.Span, _position);
                _position += read;
                return read;
            }
        }
    }

    protected override void Release()
    {
        base.Release();
        _stage.Dispose();
    }
}
