using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// Received messages of one stream. ttrpc has no flow control and the connection's reader must not wait for a consumer
/// (containerd/ttrpc#72, #94, #168), so the queue has a byte limit and refuses what goes over.
/// </summary>
internal sealed class MessageQueue<T>(long limit)
{
    /// <summary>Charged per message, so that empty ones are bounded too.</summary>
    private const int Overhead = 128;

    private readonly Channel<(T Message, int Size)> _channel =
        Channel.CreateUnbounded<(T, int)>(new UnboundedChannelOptions { SingleReader = true });
    private long _bytes;

    /// <summary>False: the consumer is too slow and the stream must fail. One message fits at any size.</summary>
    internal bool TryEnqueue(T message, long wireSize)
    {
        var size = (int)wireSize + Overhead;
        var total = Interlocked.Add(ref _bytes, size);
        if (total > limit && total != size)
        {
            Interlocked.Add(ref _bytes, -size);
            return false;
        }
        return _channel.Writer.TryWrite((message, size));
    }

    /// <summary>No more comes; what is queued is still read, then <paramref name="error"/> is thrown.</summary>
    internal void Complete(Exception? error = null) => _channel.Writer.TryComplete(error);

    internal ValueTask<bool> WaitAsync(CancellationToken cancellationToken) =>
        _channel.Reader.WaitToReadAsync(cancellationToken);

    internal bool TryDequeue([MaybeNullWhen(false)] out T message)
    {
        if (!_channel.Reader.TryRead(out var item))
        {
            message = default;
            return false;
        }
        Interlocked.Add(ref _bytes, -item.Size);
        message = item.Message;
        return true;
    }
}
