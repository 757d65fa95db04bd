using System.Buffers;
using System.Text;
using Google.Protobuf;
using Grpc.Core;

namespace Kuasar.Protocol.Framing;

/// <summary>
/// Writes one frame after the other into an <see cref="OutputBuffer"/>. It is the marshallers' context as well, so a message
/// is serialised behind its header and envelope without a copy. Each thread has one (see <see cref="Rent"/>): messages are
/// serialised outside of the connection's lock.
/// </summary>
internal sealed class FrameBuilder(int limit) : SerializationContext
{
    // A thread keeps no more than this between two frames.
    private const int MaxKept = 64 * 1024;

    [ThreadStatic]
    private static FrameBuilder? t_cached;

    private const int MaxVarintSize = 10;

    private static readonly OutputBuffer s_none = new();

    private int _limit = limit;
    private OutputBuffer? _buffer;
    private int _start;
    private byte _tag;
    private int _announced;
    private int _payloadStart;
    private bool _complete;
    private ArrayBufferWriter<byte>? _unmeasured;

    private OutputBuffer Buffer => _buffer ?? s_none;

    /// <summary>Of a rented builder: holds the one frame.</summary>
    internal OutputBuffer Output { get; set; } = new();

    /// <summary>This thread's builder; <see cref="Return"/> follows. A marshaller that makes a call gets another one.</summary>
    internal static FrameBuilder Rent(int limit)
    {
        var builder = t_cached ?? new FrameBuilder(limit);
        t_cached = null;
        builder._limit = limit;
        return builder;
    }

    internal void Return()
    {
        _buffer = null;
        if (Output.Capacity > MaxKept)
        {
            Output.Release();
        }
        Output.Truncate(0);
        t_cached = this;
    }

    internal void Begin(FrameType type, FrameFlags flags, uint streamId) => Begin(Output, type, flags, streamId);

    /// <summary>Gives the finished frame its stream, when ids are known only under the lock.</summary>
    internal void SetStreamId(uint streamId)
    {
        var header = Output.At(0, FrameHeader.Size);
        (FrameHeader.Read(header) with { StreamId = streamId }).Write(header);
    }

    internal void Begin(OutputBuffer buffer, FrameType type, FrameFlags flags, uint streamId)
    {
        _buffer = buffer;
        _start = buffer.Length;
        new FrameHeader(0, streamId, type, flags).Write(buffer.GetSpan(FrameHeader.Size));
        buffer.Advance(FrameHeader.Size);
    }

    /// <summary>Patches the length in.</summary>
    /// <exception cref="MessageTooLargeException">The data is over the limit; the caller must <see cref="Cancel"/>.</exception>
    internal void End()
    {
        var length = DataLength;
        if (length > _limit)
        {
            throw new MessageTooLargeException(length, _limit);
        }
        var header = Buffer.At(_start, FrameHeader.Size);
        (FrameHeader.Read(header) with { Length = (uint)length }).Write(header);
        _buffer = null;
    }

    /// <summary>Takes back all that was written since Begin.</summary>
    internal void Cancel()
    {
        _buffer?.Truncate(_start);
        _buffer = null;
    }

    internal void WriteBytes(ReadOnlySpan<byte> bytes) => Buffer.Write(bytes);

    internal void WriteVarint(ulong value)
    {
        var span = Buffer.GetSpan(MaxVarintSize);
        var count = 0;
        for (; value >= 0x80; value >>= 7)
        {
            span[count++] = (byte)(value | 0x80);
        }
        span[count++] = (byte)value;
        Buffer.Advance(count);
    }

    internal void WriteString(byte tag, string value)
    {
        WriteBytes([tag]);
        WriteVarint((ulong)Encoding.UTF8.GetByteCount(value));
        Encoding.UTF8.GetBytes(value, Buffer);
    }

    /// <summary>Serialises a message as the field <paramref name="tag"/>, or bare when that is 0.</summary>
    /// <exception cref="MessageTooLargeException">It does not fit; known before it is serialised.</exception>
    internal void WriteMessage<T>(byte tag, Marshaller<T> marshaller, T message)
    {
        _tag = tag;
        _announced = -1;
        _complete = false;
        _unmeasured = null;
        marshaller.ContextualSerializer(message, this);
        _unmeasured = null;
        if (!_complete)
        {
            throw new InvalidOperationException("The marshaller did not complete its message.");
        }
        ThrowUnlessAsAnnounced(); // it may have written on after completing
    }

    /// <inheritdoc cref="WriteMessage{T}"/>
    internal void WriteMessage(byte tag, IMessage message)
    {
        _tag = tag;
        Announce(message.CalculateSize());
        message.WriteTo((IBufferWriter<byte>)Buffer);
    }

    public override void SetPayloadLength(int payloadLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(payloadLength);
        // Twice would begin the field twice, and what was written before would be lost.
        if (_announced >= 0 || _unmeasured is not null)
        {
            throw new InvalidOperationException("The marshaller announced its length too late or twice.");
        }
        Announce(payloadLength);
    }

    private void Announce(int payloadLength)
    {
        var total = DataLength + (long)payloadLength;
        if (total > _limit)
        {
            throw new MessageTooLargeException(total, _limit);
        }
        if (_tag != 0)
        {
            WriteBytes([_tag]);
            WriteVarint((ulong)payloadLength);
        }
        // Serialisers ask for one more byte after the last; without the slack that would move a full buffer.
        Buffer.Reserve(payloadLength + MaxVarintSize);
        _announced = payloadLength;
        _payloadStart = Buffer.Length;
    }

    public override IBufferWriter<byte> GetBufferWriter() =>
        _announced >= 0 ? Buffer : _unmeasured ??= new ArrayBufferWriter<byte>();

    public override void Complete()
    {
        if (_announced < 0)
        {
            WriteWhole(_unmeasured is null ? [] : _unmeasured.WrittenSpan);
        }
        ThrowUnlessAsAnnounced();
        _complete = true;
    }

    public override void Complete(byte[] payload)
    {
        if (_unmeasured is not null)
        {
            throw new InvalidOperationException("The marshaller wrote its message and gave another.");
        }
        if (_announced < 0)
        {
            WriteWhole(payload);
        }
        else
        {
            WriteBytes(payload);
        }
        Complete();
    }

    private void WriteWhole(ReadOnlySpan<byte> payload)
    {
        Announce(payload.Length);
        WriteBytes(payload);
    }

    private void ThrowUnlessAsAnnounced()
    {
        if (Buffer.Length - _payloadStart != _announced)
        {
            throw new InvalidOperationException("The marshaller wrote another length than it announced.");
        }
    }

    private int DataLength => Buffer.Length - _start - FrameHeader.Size;
}
