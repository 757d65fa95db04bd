using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>
/// QEMU's machine protocol on its unix socket: a line of JSON for each command, answer and event; events come at any time. Thread-safe.
/// </summary>
/// <remarks>
/// <code>
/// {"QMP": ...}                                         greeting
/// {"execute": "x", "arguments": {...}, "id": 7}  -->   {"return": ..., "id": 7} or {"error": {"class", "desc"}, "id": 7}
///                                                      {"event": "STOP", "data": {...}, "timestamp": ...}
/// </code>
/// </remarks>
internal sealed class QmpClient : IAsyncDisposable
{
    private const int MaxLine = 4 << 20;

    private readonly Socket _socket;
    private readonly TimeSpan _timeout;
    private readonly TimeProvider _time;
    private readonly Action<string, JsonObject> _onEvent;
    private readonly SemaphoreSlim _sending = new(1, 1);
    private readonly Dictionary<long, TaskCompletionSource<JsonNode?>> _asked = [];
    private readonly TaskCompletionSource _greeted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _reader;
    private long _last;
    private bool _closed;

    private QmpClient(Socket socket, TimeSpan timeout, TimeProvider time, Action<string, JsonObject> onEvent)
    {
        (_socket, _timeout, _time, _onEvent) = (socket, timeout, time, onEvent);
        _reader = ReadAsync();
    }

    /// <summary>Ends when QEMU has closed the connection, or nobody can use it any more.</summary>
    internal Task Closed => _reader;

    /// <summary>Connects as soon as QEMU listens.</summary>
    /// <param name="path">The socket.</param>
    /// <param name="timeout">For each command.</param>
    /// <param name="time">The clock.</param>
    /// <param name="onEvent">Called with each event's name and data, one at a time; must not wait for commands.</param>
    /// <param name="cancellationToken">Ends the attempt: QEMU has ended, or the time is over.</param>
    internal static async Task<QmpClient> ConnectAsync(
        string path, TimeSpan timeout, TimeProvider time, Action<string, JsonObject> onEvent, CancellationToken cancellationToken)
    {
        var socket = await DialAsync(path, time, cancellationToken).ConfigureAwait(false);
        var client = new QmpClient(socket, timeout, time, onEvent);
        try
        {
            await client._greeted.Task.WaitAsync(timeout, time, cancellationToken).ConfigureAwait(false);
            await client.ExecuteAsync("qmp_capabilities", null, cancellationToken).ConfigureAwait(false);
            return client;
        }
        catch
        {
            await client.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static async Task<Socket> DialAsync(string path, TimeProvider time, CancellationToken cancellationToken)
    {
        while (true)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken).ConfigureAwait(false);
                return socket;
            }
            catch (SocketException)
            {
                socket.Dispose();
                await Task.Delay(TimeSpan.FromMilliseconds(2), time, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }

    /// <summary>Sends a command and waits for its answer.</summary>
    /// <param name="command">Its name.</param>
    /// <param name="arguments">Null: none.</param>
    /// <param name="cancellationToken">Ends the wait; the command is done all the same.</param>
    /// <param name="handle">Goes along, for getfd; stays the caller's.</param>
    /// <exception cref="VmException">Refused (with QEMU's own words), TimedOut, Ended.</exception>
    internal async Task<JsonNode?> ExecuteAsync(
        string command, JsonObject? arguments, CancellationToken cancellationToken, SafeFileHandle? handle = null)
    {
        var source = new TaskCompletionSource<JsonNode?>(TaskCreationOptions.RunContinuationsAsynchronously);
        var request = new JsonObject { ["execute"] = command };
        if (arguments is not null)
        {
            request["arguments"] = arguments;
        }
        lock (_asked)
        {
            if (_closed)
            {
                throw Gone(command);
            }
            request["id"] = ++_last;
            _asked.Add(_last, source);
        }
        var line = Encoding.UTF8.GetBytes(request.ToJsonString() + "\n");
        await _sending.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await SendAsync(line, handle, cancellationToken).ConfigureAwait(false);
        }
        catch (SocketException)
        {
            throw Gone(command);
        }
        finally
        {
            _sending.Release();
        }
        try
        {
            return await source.Task.WaitAsync(_timeout, _time, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException e)
        {
            throw new VmException(VmError.TimedOut, $"QEMU does not answer {command} within {_timeout.TotalSeconds:0.#} s", e);
        }
    }

    private async Task SendAsync(byte[] line, SafeFileHandle? handle, CancellationToken cancellationToken)
    {
        if (handle is null)
        {
            await _socket.SendAsync(line, cancellationToken).ConfigureAwait(false);
            return;
        }
        // A command is far smaller than the socket's buffer: all of it goes at once.
        Libc.SendWithHandles(_socket.SafeHandle, line, [handle]);
    }

    private async Task ReadAsync()
    {
        var buffer = new byte[16 * 1024];
        var (start, end) = (0, 0);
        try
        {
            while (true)
            {
                if (end == buffer.Length)
                {
                    if (start == 0 && buffer.Length >= MaxLine)
                    {
                        return;
                    }
                    var next = start > 0 ? buffer : new byte[buffer.Length * 2];
                    buffer.AsSpan(start, end - start).CopyTo(next);
                    (buffer, end, start) = (next, end - start, 0);
                }
                var count = await _socket.ReceiveAsync(buffer.AsMemory(end)).ConfigureAwait(false);
                if (count == 0)
                {
                    return;
                }
                end += count;
                int length;
                while ((length = buffer.AsSpan(start, end - start).IndexOf((byte)'\n')) >= 0)
                {
                    if (JsonNode.Parse(buffer.AsSpan(start, length)) is JsonObject message)
                    {
                        Take(message);
                    }
                    start += length + 1;
                }
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or System.Text.Json.JsonException or InvalidOperationException or FormatException)
        {
            // Gone (ECONNRESET is an end as well), or no QMP.
        }
        finally
        {
            Fail();
        }
    }

    private void Take(JsonObject message)
    {
        if (message["event"] is { } name)
        {
            _onEvent(name.GetValue<string>(), message["data"] as JsonObject ?? []);
        }
        else if (message["QMP"] is not null)
        {
            _greeted.TrySetResult();
        }
        else if (message["id"] is { } id)
        {
            TaskCompletionSource<JsonNode?>? source;
            lock (_asked)
            {
                _asked.Remove(id.GetValue<long>(), out source);
            }
            if (message["error"] is JsonObject error)
            {
                source?.TrySetException(new VmException(VmError.Refused, $"QEMU: {error["desc"]}"));
            }
            else
            {
                source?.TrySetResult(message["return"]?.DeepClone());
            }
        }
    }

    private void Fail()
    {
        TaskCompletionSource<JsonNode?>[] asked;
        lock (_asked)
        {
            _closed = true;
            asked = [.. _asked.Values];
            _asked.Clear();
        }
        Array.ForEach(asked, source => source.TrySetException(Gone("a command")));
        _greeted.TrySetException(Gone("the greeting"));
        _ = _greeted.Task.Exception;
    }

    private static VmException Gone(string command) => new(VmError.Ended, $"QEMU has gone before it answered {command}");

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _reader.ConfigureAwait(false);
    }
}
