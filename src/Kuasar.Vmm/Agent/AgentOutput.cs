using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.Transfer;
using DuplexCall = Grpc.Core.AsyncDuplexStreamingCall<Google.Protobuf.WellKnownTypes.Any, Google.Protobuf.WellKnownTypes.Any>;

namespace Kuasar.Vmm.Agent;

/// <summary>
/// A process's stdout or stderr. Over a connection of its own, read no faster than its reader reads. What has been read is acknowledged with the
/// next read, so that what was under way when its reader dies is the next reader's: of an agent that keeps it, as ours does.
/// </summary>
internal sealed class AgentOutput : Stream
{
    /// <summary>What may be under way, in bytes.</summary>
    private const int Window = 64 * 1024;

    private static readonly TimeSpan s_endLimit = TimeSpan.FromSeconds(1);

    private readonly string _id;
    private readonly PacedStream _paced;
    private readonly TtrpcClient _client;
    private readonly OutputGrants _grants;
    private DuplexCall? _call;
    private Task<bool>? _next; // outlives a read that was cancelled
    private ReadOnlyMemory<byte> _rest;
    private bool _ended;

    /// <summary>Given to the reader, and not acknowledged yet.</summary>
    private int _given;

    private AgentOutput(string id, PacedStream paced, TtrpcClient client)
    {
        _id = id;
        _paced = paced;
        _client = client;
        _grants = new OutputGrants(Window / 2, bytes => _call!.RequestStream.WriteAsync(TypeUrl.Pack(new WindowUpdate { Update = bytes })));
    }

    internal static async Task<Stream> OpenAsync(Stream stream, AgentChannel channel, string id, long position, CancellationToken cancellationToken)
    {
        var paced = new PacedStream(stream);
        var output = new AgentOutput(id, paced, channel.Over(paced));
        try
        {
            output._call = await AgentStreams.OpenAsync(output._client, new StreamInit { Id = id, Position = (ulong)position }, output.ReceiveAsync, cancellationToken).ConfigureAwait(false);
            output._grants.Add(Window);
            return output;
        }
        catch
        {
            await output.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public override bool CanRead => true;
    public override bool CanWrite => false;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <remarks>A cancelled read takes nothing; the next one goes on.</remarks>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.IsEmpty)
        {
            return 0;
        }
        Acknowledge();
        while (_rest.IsEmpty && !_ended)
        {
            await FillAsync(cancellationToken).ConfigureAwait(false);
        }
        var count = Math.Min(_rest.Length, buffer.Length);
        _rest[..count].CopyTo(buffer);
        _rest = _rest[count..];
        _given = count;
        return count;
    }

    /// <remarks>Nothing is copied on the way.</remarks>
    public override async Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(destination);
        Acknowledge();
        while (true)
        {
            if (_rest.IsEmpty && !_ended)
            {
                await FillAsync(cancellationToken).ConfigureAwait(false);
            }
            if (_rest.IsEmpty)
            {
                if (_ended)
                {
                    return;
                }
                continue;
            }
            await destination.WriteAsync(_rest, cancellationToken).ConfigureAwait(false);
            _grants.Add(_rest.Length);
            _rest = default;
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>Lets go of the output, which the guest keeps for the next reader.</summary>
    public override async ValueTask DisposeAsync()
    {
        _call?.Dispose();
        await _client.DisposeAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
        GC.SuppressFinalize(this);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _call?.Dispose();
            _paced.Dispose();
        }
        base.Dispose(disposing);
    }

    private async Task FillAsync(CancellationToken cancellationToken)
    {
        try
        {
            _next ??= ReceiveAsync(_call!.ResponseStream.MoveNext(CancellationToken.None));
            var more = await _next.WaitAsync(cancellationToken).ConfigureAwait(false);
            _next = null;
            if (!more || (TypeUrl.TryUnpack<Data>(_call!.ResponseStream.Current, out var data) && data.Data_.IsEmpty))
            {
                _ended = true;
                if (more)
                {
                    await AcknowledgeEndAsync().WaitAsync(s_endLimit, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
            else
            {
                _rest = data?.Data_.Memory ?? throw new IOException($"stream {_id}: a {_call!.ResponseStream.Current.TypeUrl} is no data");
            }
        }
        catch (RpcException error)
        {
            throw AgentStreams.Failed(_id, error, CancellationToken.None);
        }
    }

    private void Acknowledge()
    {
        if (_given > 0)
        {
            _grants.Add(_given);
            _given = 0;
        }
    }

    /// <summary>The agent holds the process for what has not been acknowledged; it ends the stream when all is.</summary>
    private async Task AcknowledgeEndAsync()
    {
        await _grants.FinishAsync().ConfigureAwait(false);
        await ReceiveAsync(_call!.ResponseStream.MoveNext(CancellationToken.None)).ConfigureAwait(false);
    }

    /// <summary>The connection is read while a message is awaited, and only then.</summary>
    private async Task<bool> ReceiveAsync(Task<bool> message)
    {
        if (message.IsCompleted)
        {
            return await message.ConfigureAwait(false);
        }
        _paced.Open();
        try
        {
            return await message.ConfigureAwait(false);
        }
        finally
        {
            _paced.Shut();
        }
    }
}
