using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.Sandbox.Events;

/// <summary>Where events go: to a containerd, or in a guest to the host, which fetches them. Thread-safe.</summary>
internal interface IEventSink
{
    /// <summary>Queues an event; never waits.</summary>
    /// <param name="containerdNamespace">Whose it is.</param>
    /// <param name="topic">As containerd's consumers filter by it.</param>
    /// <param name="message">The event.</param>
    /// <param name="taken">Called when it has been taken, or refused, which would happen again. Must not throw.</param>
    void Publish(string containerdNamespace, string topic, IMessage message, Action? taken = null);

    internal static Envelope ToEnvelope(string containerdNamespace, string topic, IMessage message, DateTimeOffset now) => new()
    {
        Timestamp = Timestamp.FromDateTimeOffset(now),
        Namespace = containerdNamespace,
        Topic = topic,
        Event = TypeUrl.Pack(message),
    };
}
