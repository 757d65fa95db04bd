using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// Copies between a pty's master and the client's streams, on the event loop's thread, never blocking it. A client that does not read
/// stops the terminal's output, and nothing else. The handles stay the caller's, who disposes this first.
/// </summary>
internal sealed class TerminalRelay : IDisposable
{
    private const int BufferSize = 8192;

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
        private readonly byte[] _buffer = source is null ? [] : new byte[BufferSize];
        private int _start, _end;
        private EventLoop.Registration? _wait;
        private bool _finished;

        /// <summary>What is ready at once when there is more to do.</summary>
        internal required (SafeFileHandle Handle, uint Events) Again { get; init; }

        internal void Pump()
        {
            var reads = 0;
            while (!_finished && source is not null)
            {
                if (_start < _end)
                {
                    var written = target is null ? _end - _start : Libc.Write(target, _buffer.AsSpan(_start, _end - _start));
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
                var read = Libc.Read(source, _buffer);
                if (read == -Libc.EAGAIN)
                {
                    Wait(source, EventLoop.In);
                    return;
                }
                if (read > 0)
                {
                    (_start, _end) = (0, read);
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
