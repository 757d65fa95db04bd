using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
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

    /// <summary>Connects; null when nobody listens there (yet).</summary>
    /// <param name="path">The socket.</param>
    /// <param name="timeout">For the greeting, and for each command.</param>
    /// <param name="time">The clock.</param>
    /// <param name="onEvent">Called with each event's name and data, one at a time; must not wait for commands.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="VmException">TimedOut: another client has it (there is one at a time); Ended.</exception>
    internal static async Task<QmpClient?> TryConnectAsync(
        string path, TimeSpan timeout, TimeProvider time, Action<string, JsonObject> onEvent, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            socket.Dispose();
            if (e is SocketException)
            {
                return null;
            }
            throw;
        }
        var client = new QmpClient(socket, timeout, time, onEvent);
        try
        {
            await client._greeted.Task.WaitAsync(timeout, time, cancellationToken).ConfigureAwait(false);
            await client.ExecuteAsync("qmp_capabilities", null, cancellationToken).ConfigureAwait(false);
            return client;
        }
        catch (Exception e)
        {
            await client.DisposeAsync().ConfigureAwait(false);
            if (e is TimeoutException)
            {
                throw new VmException(VmError.TimedOut, $"QEMU does not greet at {path}: another has its monitor", e);
            }
            throw;
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
        try
        {
            await SendAsync(line, handle).WaitAsync(_timeout, _time, cancellationToken).ConfigureAwait(false);
            return await source.Task.WaitAsync(_timeout, _time, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException e)
        {
            throw new VmException(VmError.TimedOut, $"QEMU does not answer {command} within {_timeout.TotalSeconds:0.#} s", e);
        }
        catch (Exception e) when (e is SocketException or LinuxException or ObjectDisposedException)
        {
            throw Gone(command);
        }
    }

    // Never left off in the middle of a line.
    private async Task SendAsync(byte[] line, SafeFileHandle? handle)
    {
        await _sending.WaitAsync().ConfigureAwait(false);
        try
        {
            if (handle is null)
            {
                await _socket.SendAsync(line).ConfigureAwait(false);
                return;
            }
            // The fd belongs to a byte of the command: both in one message. A command is far smaller than the socket's buffer.
            Libc.SendWithHandles(_socket.SafeHandle, line, [handle]);
        }
        finally
        {
            _sending.Release();
        }
    }

    private async Task ReadAsync()
    {
        var stream = new NetworkStream(_socket, ownsSocket: false);
        var reader = PipeReader.Create(stream);
        try
        {
            while (true)
            {
                var result = await reader.ReadAsync().ConfigureAwait(false);
                var rest = result.Buffer;
                while (rest.PositionOf((byte)'\n') is { } end)
                {
                    if (JsonNode.Parse(rest.Slice(0, end).ToArray()) is JsonObject message)
                    {
                        Take(message);
                    }
                    rest = rest.Slice(rest.GetPosition(1, end));
                }
                if (result.IsCompleted || rest.Length > MaxLine)
                {
                    return;
                }
                reader.AdvanceTo(rest.Start, rest.End);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or JsonException or InvalidOperationException or FormatException)
        {
            // Gone (ECONNRESET is an end as well), or no QMP.
        }
        finally
        {
            await reader.CompleteAsync().ConfigureAwait(false);
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
        // _sending is left to the collector: a command may still be on its way to it.
    }
}
