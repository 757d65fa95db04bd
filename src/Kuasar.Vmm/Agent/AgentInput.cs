using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.Transfer;
using Kuasar.Vmm.Agent;
using DuplexCall = Grpc.Core.AsyncDuplexStreamingCall<Google.Protobuf.WellKnownTypes.Any, Google.Protobuf.WellKnownTypes.Any>;

namespace Kuasar.Vmm;

/// <summary>
/// A process's stdin. It takes as much as the guest has asked for (32 KiB at a time), so a process that does not read holds the writer
/// back. One writer at a time.
/// </summary>
/// <remarks>
/// Disposing lets go of it without an end, as when the host's side is replaced; <see cref="CompleteAsync"/> is the end that the process reads.
/// </remarks>
public sealed class AgentInput : IAsyncDisposable
{
    private const int MaxMessage = 32 * 1024;

    private readonly string _id;
    private readonly TtrpcClient _client;
    private readonly DuplexCall _call;
    private readonly Lock _lock = new();
    private readonly Task _updates;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _window;
    private long? _position;
    private bool _isAsked;
    private Exception? _failure;
    private bool _ended;

    private AgentInput(string id, TtrpcClient client, DuplexCall call)
    {
        _id = id;
        _client = client;
        _call = call;
        _updates = ReadUpdatesAsync();
    }

    internal static async Task<AgentInput> OpenAsync(TtrpcClient client, string id, CancellationToken cancellationToken)
    {
        try
        {
            return new AgentInput(id, client, await AgentStreams.OpenAsync(client, new StreamInit { Id = id, Position = 0 }, null, cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            await client.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>How much of its input the process has, from all who wrote to it before; null of an agent that does not say. Completes when the process is made.</summary>
    /// <exception cref="IOException">The guest is lost (<see cref="VsockException"/>), or the process has ended.</exception>
    public async Task<long?> PositionAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (_isAsked)
                {
                    return _position;
                }
                ThrowIfEnded();
                changed = _changed.Task;
            }
            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Writes all of it, in messages of at most 32 KiB, as the guest gives leave.</summary>
    /// <exception cref="IOException">The guest is lost (<see cref="VsockException"/>), or takes no more: the process has ended or closed it.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; some of it may have been written.</exception>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken = default)
    {
        while (!data.IsEmpty)
        {
            var count = await TakeAsync(Math.Min(data.Length, MaxMessage), cancellationToken).ConfigureAwait(false);
            var message = TypeUrl.Pack(new Data { Data_ = UnsafeByteOperations.UnsafeWrap(data[..count]) });
            try
            {
                await _call.RequestStream.WriteAsync(message, cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException error)
            {
                throw AgentStreams.Failed(_id, error, cancellationToken);
            }
            data = data[count..];
        }
    }

    /// <summary>The end of the input; completes when the guest has taken it.</summary>
    /// <exception cref="IOException">The guest was lost before it had.</exception>
    public async Task CompleteAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            await _call.RequestStream.CompleteAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException error)
        {
            throw AgentStreams.Failed(_id, error, cancellationToken);
        }
        await _updates.WaitAsync(cancellationToken).ConfigureAwait(false);
        if (_failure is not null)
        {
            throw _failure;
        }
    }

    /// <summary>Closes the connection of the stream. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        _call.Dispose();
        await _client.DisposeAsync().ConfigureAwait(false);
        await _updates.ConfigureAwait(false);
    }

    private async ValueTask<int> TakeAsync(int wanted, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                ThrowIfEnded();
                if (_window > 0)
                {
                    var count = (int)Math.Min(_window, wanted);
                    _window -= count;
                    return count;
                }
                changed = _changed.Task;
            }
            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private void ThrowIfEnded()
    {
        if (_ended)
        {
            throw _failure ?? new IOException($"stream {_id}: the guest takes no more");
        }
    }

    private async Task ReadUpdatesAsync()
    {
        try
        {
            while (await _call.ResponseStream.MoveNext(CancellationToken.None).ConfigureAwait(false))
            {
                if (TypeUrl.TryUnpack<WindowUpdate>(_call.ResponseStream.Current, out var update) && update.Update > 0)
                {
                    Change(() => (_isAsked, _window) = (true, _window + update.Update));
                }
                else if (TypeUrl.TryUnpack<StreamInit>(_call.ResponseStream.Current, out var init))
                {
                    Change(() => _position = (long)Math.Min(init.Position, long.MaxValue));
                }
            }
            Change(() => _ended = true);
        }
        catch (Exception error) when (error is RpcException or InvalidProtocolBufferException)
        {
            var failure = error is RpcException rpc ? AgentStreams.Failed(_id, rpc) : new IOException($"stream {_id}: {error.Message}", error);
            Change(() => (_failure, _ended) = (failure, true));
        }
    }

    private void Change(Action change)
    {
        lock (_lock)
        {
            change();
            _changed.TrySetResult();
            _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }
}
