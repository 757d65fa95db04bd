using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// Our end of a pipe whose other end is a process's standard stream, and the client that is at it: one at a time, and a later one takes the
/// earlier one's place, so that a host that comes back finds its stream. The bytes are kept by the pipe; a process whose client is slow waits.
/// </summary>
internal abstract class StreamPipe(StreamTable table, string id, SafeFileHandle handle, EventLoop loop) : IDisposable
{
    /// <summary>At most so much in a message: of larger writes, vsock of newer kernels makes what its device does not take.</summary>
    internal const int ChunkSize = 32 * 1024;

    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly Lock _lock = new();
    private CancellationTokenSource? _client;
    private int _clients;
    private bool _disposed;

    internal string Id => id;

    protected SafeFileHandle Handle => handle;

    protected EventLoop Loop => loop;

    /// <summary>Whether a client is at the stream, or waits for its turn.</summary>
    protected bool HasClient
    {
        get
        {
            lock (_lock)
            {
                return _clients > 0;
            }
        }
    }

    /// <summary>Runs one client's copying; true when the stream is over, false when the client has to go.</summary>
    /// <param name="copy">Copies until the end; what it is given is cancelled when another comes.</param>
    /// <param name="cancellationToken">The client's call.</param>
    protected async Task RunClientAsync(Func<CancellationToken, Task> copy, CancellationToken cancellationToken)
    {
        using var mine = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }
            _clients++;
            _client?.Cancel();
            _client = mine;
        }
        try
        {
            await _turn.WaitAsync(mine.Token).ConfigureAwait(false);
            try
            {
                await copy(mine.Token).ConfigureAwait(false);
            }
            finally
            {
                _turn.Release();
            }
        }
        catch (OperationCanceledException) when (IsDisposed)
        {
            // Its process has been deleted: to the client that is the stream's end.
        }
        finally
        {
            Leave(mine);
        }
    }

    private bool IsDisposed
    {
        get
        {
            lock (_lock)
            {
                return _disposed;
            }
        }
    }

    private void Leave(CancellationTokenSource client)
    {
        lock (_lock)
        {
            _clients--;
            if (_client == client)
            {
                _client = null;
            }
            CloseIfUnused();
        }
    }

    /// <summary>Under the lock: an fd that somebody waits for must stay what it is.</summary>
    private void CloseIfUnused()
    {
        if (_disposed && _clients == 0)
        {
            handle.Dispose();
        }
    }

    /// <summary>Ends the stream, for its client too. Safe to repeat.</summary>
    public void Dispose()
    {
        table.Remove(this);
        lock (_lock)
        {
            _disposed = true;
            _client?.Cancel();
            CloseIfUnused();
        }
    }
}
