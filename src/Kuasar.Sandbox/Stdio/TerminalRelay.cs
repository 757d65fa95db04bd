using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// Copies between a pty's master and the client's streams, on the event loop's thread, never blocking it. A client that does not read
/// stops the terminal's output, and nothing else. The handles stay the caller's, who disposes this first.
/// </summary>
/// <remarks>
/// Where the other side is a fifo or a pipe, the kernel moves the bytes in one call: a sandboxer that is killed has none of them in its
/// hands, and its successor goes on from the next byte.
/// </remarks>
internal sealed class TerminalRelay : IDisposable
{
    private const int BufferSize = 8192;

    /// <summary>What is moved takes a page of the pipe each time, however little it is: as many pages as it has by default are soon full.</summary>
    private const int PipeSize = 1 << 20;

    /// <summary>How often a direction may read before it lets the loop's other fds have their turn.</summary>
    private const int ReadsInTurn = 16;

    private readonly SafeFileHandle _master;
    private readonly SafeFileHandle _secondMaster;
    private readonly Direction _toClient;
    private readonly Direction _toProcess;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private bool _disposed;

    /// <param name="loop">Where the copying runs.</param>
    /// <param name="master">The pty; set to non-blocking here.</param>
    /// <param name="input">A non-blocking fifo, or null.</param>
    /// <param name="output">A non-blocking fifo, a pipe or a file, or null: what the process writes is thrown away then.</param>
    internal TerminalRelay(EventLoop loop, SafeFileHandle master, SafeFileHandle? input, SafeFileHandle? output)
    {
        _master = master;
        Libc.SetNonBlocking(master, true);
        if (output is not null)
        {
            Libc.SetNonBlocking(output, true);
            Libc.TryEnlargePipe(output, PipeSize);
        }
        // epoll takes a handle once, and both directions wait for the master.
        _secondMaster = Libc.Duplicate(master);
        lock (_lock)
        {
            _toClient = new Direction(this, loop, master, output, () => _ended.TrySetResult())
            {
                Again = (master, EventLoop.In),
            };
            // The input may be a file, which epoll does not take.
            _toProcess = new Direction(this, loop, input, _secondMaster, () => { })
            {
                Again = (_secondMaster, EventLoop.Out),
            };
            _toClient.Pump();
            _toProcess.Pump();
        }
    }

    /// <summary>Completes when the last process has let go of the terminal and all of its output was passed on, or on Dispose.</summary>
    internal Task Ended => _ended.Task;

    internal void Resize(ushort columns, ushort rows)
    {
        lock (_lock)
        {
            if (!_disposed)
            {
                Libc.SetWindowSize(_master, columns, rows);
            }
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }
            _disposed = true;
            _toClient.Stop();
            _toProcess.Stop();
            _secondMaster.Dispose();
            _ended.TrySetResult();
        }
    }

    /// <summary>One way: read until nothing is there, write until nothing is left, wait for the one that is not ready.</summary>
    private sealed class Direction(TerminalRelay relay, EventLoop loop, SafeFileHandle? source, SafeFileHandle? target, Action ended)
    {
        private byte[]? _buffer;
        private int _start, _end;
        private EventLoop.Registration? _wait;
        private bool _finished;
        private bool _copies = target is null;

        /// <summary>What is ready at once when there is more to do.</summary>
        internal required (SafeFileHandle Handle, uint Events) Again { get; init; }

        private byte[] Buffer => _buffer ??= new byte[BufferSize];

        internal void Pump()
        {
            var reads = 0;
            while (!_finished && source is not null)
            {
                if (_start < _end)
                {
                    var written = target is null ? _end - _start : Libc.Write(target, Buffer.AsSpan(_start, _end - _start));
                    if (written == -Libc.EAGAIN)
                    {
                        Wait(target!, EventLoop.Out);
                        return;
                    }
                    if (written < 0 && written != -Libc.EINTR)
                    {
                        // Nobody is left on that side; the terminal must not stop for it.
                        target = null;
                    }
                    _start += Math.Max(written, 0);
                    continue;
                }
                if (reads++ == ReadsInTurn)
                {
                    Wait(Again.Handle, Again.Events);
                    return;
                }
                var read = _copies || target is null ? Libc.Read(source, Buffer) : Libc.Splice(source, target, BufferSize);
                if (read == -Libc.EAGAIN)
                {
                    if (!_copies && target is not null && Libc.WaitReadable(source, TimeSpan.Zero))
                    {
                        Wait(target, EventLoop.Out);
                        return;
                    }
                    Wait(source, EventLoop.In);
                    return;
                }
                if (read == -Libc.EINVAL && !_copies)
                {
                    // A file, or a kernel before 5.10, whose terminals cannot be moved from.
                    _copies = true;
                    continue;
                }
                if (read == -Libc.EPIPE && !_copies)
                {
                    target = null;
                    continue;
                }
                if (read > 0)
                {
                    (_start, _end) = (0, _copies || target is null ? read : 0);
                }
                else if (read != -Libc.EINTR)
                {
                    // 0: the client closed stdin. EIO: no process has the terminal any more.
                    Stop();
                    ended();
                }
            }
        }

        private void Wait(SafeFileHandle handle, uint events) =>
            // Registered anew for each wait: a hang-up is reported whether asked for or not, and would spin.
            _wait = loop.Register(handle, events, _ =>
            {
                lock (relay._lock)
                {
                    _wait?.Dispose();
                    _wait = null;
                    if (!relay._disposed)
                    {
                        Pump();
                    }
                }
            });

        internal void Stop()
        {
            _finished = true;
            _wait?.Dispose();
            _wait = null;
        }
    }
}
