using System.Buffers;
using Grpc.Core;

namespace Kuasar.Protocol.Framing;

/// <summary>Hands a slice of the receive buffer to a marshaller; valid only during the call.</summary>
internal sealed class SequenceContext : DeserializationContext
{
    private ReadOnlySequence<byte> _payload;

    public override int PayloadLength => (int)_payload.Length;

    public override byte[] PayloadAsNewBuffer() => _payload.ToArray();

    public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => _payload;

    /// <summary>Reads one message. Whatever the marshaller throws comes out; a null message is an error too.</summary>
    internal T Read<T>(Marshaller<T> marshaller, in ReadOnlySequence<byte> payload)
    {
        _payload = payload;
        try
        {
            return marshaller.ContextualDeserializer(this) ?? throw new InvalidDataException("the marshaller returned null");
        }
        finally
        {
            _payload = default;
        }
    }
}
