using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// Keeps what a process wrote to a client's fifo until somebody has read it, also when the client is away while the process ends.
/// </summary>
/// <remarks>
/// A reader of ours, which never reads, keeps the pipe and its bytes alive; a client still sees the end as soon as the last writer is
/// gone. But a client that comes after the end could not even open the fifo, since that waits for a writer: so where unread bytes are
/// left when the process has ended, a writer of ours stays until they are read.
/// </remarks>
internal sealed class OutputFifo : IDisposable
{
    private static readonly TimeSpan FirstLook = TimeSpan.FromMilliseconds(2), LastLook = TimeSpan.FromMilliseconds(250);

    private readonly string _path;
    private readonly StdioEnvironment _environment;
    private readonly string _name;
    private readonly SafeFileHandle _reader;
    private readonly Lock _lock = new();
    private SafeFileHandle? _writer;
    private ITimer? _look;
    private TimeSpan _period = FirstLook;
    private bool _disposed;

    /// <param name="path">The client's.</param>
    /// <param name="environment">Where the handle is kept.</param>
    /// <param name="name">Under which.</param>
    /// <param name="again">Whether it is of a process of an earlier life: then what that kept is found there.</param>
    internal OutputFifo(string path, StdioEnvironment environment, string name, bool again = false)
    {
        _path = path;
        _environment = environment;
        _name = name;
        if (again && environment.Handles.TryFind(name) is { } kept)
        {
            _reader = kept;
            return;
        }
        _reader = Libc.Open(path, Libc.O_RDONLY | Libc.O_NONBLOCK);
        environment.KeepAnew(name, _reader);
    }

    /// <summary>Called when the process has ended.</summary>
    internal void KeepUntilRead()
    {
        lock (_lock)
        {
            if (_disposed || _writer is not null || Libc.BytesAvailable(_reader) == 0)
            {
                return;
            }
            try
            {
                _writer = Libc.Open(_path, Libc.O_WRONLY | Libc.O_NONBLOCK);
            }
            catch (LinuxException)
            {
                // The client has removed the fifo, or made another in its place (which has no reader): it reads what it has open, and
                // nobody else will come.
                return;
            }
            _look = _environment.Time.CreateTimer(_ => Look(), null, _period, Timeout.InfiniteTimeSpan);
        }
    }

    private void Look()
    {
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }
            if (Libc.BytesAvailable(_reader) > 0)
            {
                _period = _period >= LastLook ? LastLook : 2 * _period;
                _look!.Change(_period, Timeout.InfiniteTimeSpan);
                return;
            }
            _writer!.Dispose();
            _look!.Dispose();
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            _look?.Dispose();
            _writer?.Dispose();
            _environment.Handles.Forget(_name);
        }
    }
}
