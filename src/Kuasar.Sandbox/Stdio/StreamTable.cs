using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// The standard streams of a guest's processes, which the host opens by id. A stream is there from the moment its process is being made until
/// that is deleted; who asks before waits for it. Thread-safe.
/// </summary>
internal sealed class StreamTable(EventLoop loop)
{
    /// <summary>Two of containerd's identifiers and the stream's name.</summary>
    private const int MaxIdLength = (2 * ContainerdId.MaxLength) + 10;

    private readonly Dictionary<string, StreamPipe> _pipes = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private TaskCompletionSource _added = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal static bool IsId(string id) =>
        id.Length is > 0 and <= MaxIdLength && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>A process's output: our end, and the one for the process.</summary>
    /// <exception cref="SandboxException">AlreadyExists.</exception>
    internal (OutputPipe Pipe, SafeFileHandle Writer) OpenOutput(string id)
    {
        var (read, write) = Libc.Pipe();
        return (Add(id, read, write, handle => new OutputPipe(this, id, handle, loop)), write);
    }

    /// <summary>A process's input: our end, and the one for the process.</summary>
    /// <exception cref="SandboxException">AlreadyExists.</exception>
    internal (InputPipe Pipe, SafeFileHandle Reader) OpenInput(string id)
    {
        var (read, write) = Libc.Pipe();
        return (Add(id, write, read, handle => new InputPipe(this, id, handle, loop)), read);
    }

    private T Add<T>(string id, SafeFileHandle ours, SafeFileHandle theirs, Func<SafeFileHandle, T> make) where T : StreamPipe
    {
        Libc.SetNonBlocking(ours, true);
        lock (_lock)
        {
            var pipe = make(ours);
            if (_pipes.TryAdd(id, pipe))
            {
                _added.SetResult();
                _added = new(TaskCreationOptions.RunContinuationsAsynchronously);
                return pipe;
            }
        }
        ours.Dispose();
        theirs.Dispose();
        throw new SandboxException(SandboxError.AlreadyExists, $"stream {id} exists already");
    }

    internal void Remove(StreamPipe pipe)
    {
        lock (_lock)
        {
            if (_pipes.GetValueOrDefault(pipe.Id) == pipe)
            {
                _pipes.Remove(pipe.Id);
            }
        }
    }

    /// <summary>The stream of this id, waiting for it when it is not there yet.</summary>
    /// <exception cref="SandboxException">NotFound: none came within the limit.</exception>
    internal async Task<StreamPipe> FindAsync(string id, TimeSpan limit, TimeProvider time, CancellationToken cancellationToken)
    {
        var begin = time.GetTimestamp();
        while (true)
        {
            Task added;
            lock (_lock)
            {
                if (_pipes.TryGetValue(id, out var pipe))
                {
                    return pipe;
                }
                added = _added.Task;
            }
            var left = limit - time.GetElapsedTime(begin);
            if (left <= TimeSpan.Zero || !await added.WaitAsync(cancellationToken).EndsWithinAsync(left, time).ConfigureAwait(false))
            {
                throw new SandboxException(SandboxError.NotFound, $"no stream {id}");
            }
            cancellationToken.ThrowIfCancellationRequested();
        }
    }
}
