using System.Threading.Channels;
using Google.Protobuf;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.Sandbox.Events;

/// <summary>
/// Events that wait until the host fetches them. Only what the host cannot see by its own calls is kept: that something ran out of memory.
/// Exits it waits for, and the rest it has asked for itself.
/// </summary>
internal sealed class EventQueue(TimeProvider time) : IEventSink
{
    private const int Limit = 1024;

    private readonly Channel<Envelope> _queue =
        Channel.CreateBounded<Envelope>(new BoundedChannelOptions(Limit) { FullMode = BoundedChannelFullMode.DropOldest });

    public void Publish(string containerdNamespace, string topic, IMessage message, Action? taken = null)
    {
        if (message is TaskOOM)
        {
            _queue.Writer.TryWrite(IEventSink.ToEnvelope(containerdNamespace, topic, message, time.GetUtcNow()));
        }
        taken?.Invoke();
    }

    /// <summary>The next event, for one of those who ask.</summary>
    internal ValueTask<Envelope> NextAsync(CancellationToken cancellationToken) => _queue.Reader.ReadAsync(cancellationToken);
}
