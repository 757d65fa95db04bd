using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Transport;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Protocol;

/// <summary>
/// Several ttrpc connections over one, as NRI has them: a plugin serves the runtime and calls it over the same socket. Open the
/// connections, <see cref="Start"/>, give each to a <see cref="TtrpcServer"/> or a <see cref="TtrpcClient"/>, and dispose this
/// last. Thread-safe.
/// </summary>
/// <remarks>
/// <para>On the wire: connection id and length, 4 bytes each, big endian, then so many bytes, at most 4 MiB + 10. The framing
/// knows neither the opening of a connection nor its end, and does not hold a peer back. So:</para>
/// <para>What comes for an id that is not open, or not any more, is thrown away.</para>
/// <para>Disposing one connection is not told to the peer and leaves the others alone. Aborting one aborts all, because its
/// calls at the other end would never learn of it. The end of the socket ends all.</para>
/// <para>A connection that is not read takes up to <see cref="MultiplexerOptions.ReceiveLimit"/>. Then the socket is not read
/// either, and the others wait too: nothing else keeps the memory bounded and loses no byte. After
/// <see cref="MultiplexerOptions.StallTimeout"/> all are aborted. Connections of a <see cref="TtrpcServer"/> or a
/// <see cref="TtrpcClient"/> are always read. (NRI in Go ends all connections when 256 frames wait for one.)</para>
/// <para>Writes of all connections take turns, at most 256 KiB a turn, and wait while the peer does not read.</para>
/// </remarks>
public sealed class Multiplexer : IAsyncDisposable
{
    /// <summary>NRI: the runtime calls, the plugin serves.</summary>
    public const uint NriPluginService = 1;

    /// <summary>NRI: the plugin calls, the runtime serves.</summary>
    public const uint NriRuntimeService = 2;

    private const int MaxTurn = 256 * 1024;

    private readonly Connection _trunk;
    private readonly MultiplexerOptions _options;
    private readonly ILogger _log;
    private readonly StallGuard _stall;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly CancellationTokenSource _closed = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<uint, MultiplexedConnection> _connections = [];
    private Task? _reading;
    private Exception? _error;
    private bool _ended;

    /// <summary>A multiplexer over a connection, which it takes over and disposes. Nothing is read before <see cref="Start"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range; the connection stays the caller's.</exception>
    public Multiplexer(Connection connection, MultiplexerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(connection);
        _options = options ?? new MultiplexerOptions();
        _options.Validate();
        _trunk = connection;
        _log = (_options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger<Multiplexer>();
        _stall = new StallGuard(_options.StallTimeout, _options.TimeProvider, OnStalled);
        Closed = _closed.Token;
    }

    /// <summary>Cancelled when the connection beneath is gone, by whichever side, and all connections with it.</summary>
    public CancellationToken Closed { get; }

    /// <summary>
    /// The connection of this id, which the caller owns. Its <see cref="Connection.Peer"/> and
    /// <see cref="Connection.LocalAddress"/> are those of the connection beneath. One that is opened when all is over has ended.
    /// </summary>
    /// <param name="id">Both ends must mean the same by it. <see cref="NriPluginService"/>, or any other but 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">0, which NRI reserves.</exception>
    /// <exception cref="InvalidOperationException">It was opened before.</exception>
    public Connection Open(uint id)
    {
        ArgumentOutOfRangeException.ThrowIfZero(id);
        var connection = new MultiplexedConnection(this, id, _options.ReceiveLimit);
        bool ended;
        lock (_lock)
        {
            if (!_connections.TryAdd(id, connection))
            {
                throw new InvalidOperationException($"Connection {id} has been opened before.");
            }
            ended = _ended;
        }
        if (ended)
        {
            connection.End(_error);
        }
        return connection;
    }

    /// <summary>Begins to read. Connections that the peer may use at once must be open. A second time does nothing.</summary>
    public void Start()
    {
        lock (_lock)
        {
            if (_reading is null && !_ended)
            {
                // The loop serves every connection, so it must not carry the AsyncLocals of the caller.
                using (ExecutionContext.SuppressFlow())
                {
                    _reading = Task.Run(ReadAsync);
                }
            }
        }
    }

    /// <summary>Ends everything at once, bytes under way included. Never blocks and never throws; any thread, any number of times.</summary>
    public void Abort()
    {
        End(new IOException("The connection was aborted."));
        _trunk.Abort();
    }

    /// <summary>Ends all connections and closes the one beneath; what they have written still reaches the peer. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        End(null);
        await _trunk.DisposeAsync().ConfigureAwait(false);
        if (_reading is { } reading)
        {
            await reading.ConfigureAwait(false);
        }
    }

    internal Connection Trunk => _trunk;

    /// <summary>
    /// Writes these bytes as frames of one connection. When it is cancelled, what is with the connection beneath goes on: a frame
    /// is never torn.
    /// </summary>
    internal async ValueTask WriteAsync(MultiplexedConnection connection, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (!bytes.IsEmpty)
        {
            var part = bytes[..Math.Min(bytes.Length, MaxTurn)];
            bytes = bytes[part.Length..];
            await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            // Copies before it waits, so the caller may have its bytes back whatever becomes of the wait.
            if (!await SendAsync(connection, part).WaitAsync(cancellationToken).ConfigureAwait(false))
            {
                throw new IOException("The connection has ended.");
            }
        }
    }

    /// <summary>With the turn, which it passes on. False when it failed, which has ended everything; perhaps nobody awaits it.</summary>
    private async Task<bool> SendAsync(MultiplexedConnection connection, ReadOnlyMemory<byte> bytes)
    {
        try
        {
            var output = _trunk.Transport.Output;
            Frame(output, connection, bytes.Span);
            var result = await output.FlushAsync().ConfigureAwait(false);
            if (result.IsCompleted || result.IsCanceled)
            {
                throw new IOException("The peer reads no more.");
            }
            return true;
        }
        catch (Exception error) // whatever the transport throws: half a frame may be out
        {
            End(error);
            _trunk.Abort();
            return false;
        }
        finally
        {
            _turn.Release();
        }
    }

    private static void Frame(PipeWriter output, MultiplexedConnection connection, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var length = connection.Splitter.Next(bytes);
            var header = output.GetSpan(MultiplexReader.HeaderSize);
            BinaryPrimitives.WriteUInt32BigEndian(header, connection.Id);
            BinaryPrimitives.WriteUInt32BigEndian(header[sizeof(uint)..], (uint)length);
            output.Advance(MultiplexReader.HeaderSize);
            output.Write(bytes[..length]);
            bytes = bytes[length..];
        }
    }

    private async Task ReadAsync()
    {
        Exception? failure = null;
        try
        {
            await ReadFramesAsync().ConfigureAwait(false);
        }
        catch (FrameFormatException error)
        {
            TransportLog.NotMultiplexed(_log, error.Message);
            failure = error;
        }
        catch (Exception error) // whatever the transport throws when it ends
        {
            failure = error;
        }
        End(failure);
        await _trunk.DisposeAsync().ConfigureAwait(false);
    }

    private async Task ReadFramesAsync()
    {
        var input = _trunk.Transport.Input;
        var frames = new MultiplexReader();
        while (true)
        {
            var result = await input.ReadAsync().ConfigureAwait(false);
            var buffer = result.Buffer;
            try
            {
                while (frames.TryRead(ref buffer, out var id, out var piece))
                {
                    await DeliverAsync(id, piece).ConfigureAwait(false);
                }
                if (result.IsCanceled)
                {
                    return;
                }
                if (result.IsCompleted)
                {
                    if (!buffer.IsEmpty || !frames.BetweenFrames)
                    {
                        throw new FrameFormatException("The peer closed within a multiplexed frame.");
                    }
                    return;
                }
            }
            finally
            {
                input.AdvanceTo(buffer.Start, buffer.End);
            }
        }
    }

    private async ValueTask DeliverAsync(uint id, ReadOnlySequence<byte> piece)
    {
        MultiplexedConnection? connection;
        lock (_lock)
        {
            _connections.TryGetValue(id, out connection);
        }
        var delivered = connection?.DeliverAsync(piece) ?? default;
        if (delivered.IsCompleted)
        {
            return;
        }
        _stall.Start();
        try
        {
            await delivered.ConfigureAwait(false);
        }
        finally
        {
            _stall.Stop();
        }
    }

    private void OnStalled()
    {
        TransportLog.MultiplexedStalled(_log, _options.StallTimeout);
        Abort();
    }

    private void End(Exception? error)
    {
        MultiplexedConnection[] connections;
        lock (_lock)
        {
            if (_ended)
            {
                return;
            }
            _ended = true;
            _error = error;
            connections = [.. _connections.Values];
        }
        foreach (var connection in connections)
        {
            connection.End(error);
        }
        _stall.Dispose();
        // Not Cancel: the callbacks are not ours, and may throw or take their time.
        _closed.CancelApart();
    }
}
