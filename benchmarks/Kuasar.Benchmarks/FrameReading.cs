using System.Buffers;
using BenchmarkDotNet.Attributes;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Framing;

namespace Kuasar.Benchmarks;

/// <summary>
/// What does it cost to find a request in the received bytes and to take its envelope apart, up to the payload, which is not parsed?
/// In pieces: as it comes when a message is larger than what one read brings.
/// </summary>
[MemoryDiagnoser]
public class FrameReading
{
    private readonly FrameReader _reader = new();
    private ReadOnlySequence<byte> _whole, _pieces;

    [Params(64, 4096, 262144)]
    public int Size { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        var buffer = new OutputBuffer();
        var frame = new FrameBuilder(4 << 20);
        frame.Begin(buffer, FrameType.Request, FrameFlags.RemoteClosed, 1);
        frame.WriteString(0x0A, "containerd.task.v3.Task");
        frame.WriteString(0x12, "State");
        RequestWriter.WriteTimeout(frame, 5_000_000_000);
        frame.WriteMessage(RequestWriter.PayloadTag, Sample.Blob(Size));
        frame.End();
        var bytes = buffer.Written.ToArray();
        _whole = new(bytes);
        _pieces = Segment.Cut(bytes, Math.Max(bytes.Length / 4, 1));
    }

    [Benchmark]
    public long Whole() => Read(_whole);

    [Benchmark]
    public long Pieces() => Read(_pieces);

    private long Read(ReadOnlySequence<byte> buffer) =>
        _reader.TryRead(ref buffer, FrameReader.MaxLength, out var frame)
            ? RequestEnvelope.Parse(frame.Data).Payload.Length
            : throw new InvalidOperationException("not a whole frame");

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        internal static ReadOnlySequence<byte> Cut(byte[] bytes, int size)
        {
            var first = new Segment { Memory = bytes.AsMemory(0, size) };
            var last = first;
            for (var start = size; start < bytes.Length; start += size)
            {
                var next = new Segment { Memory = bytes.AsMemory(start, Math.Min(size, bytes.Length - start)), RunningIndex = start };
                last.Next = next;
                last = next;
            }
            return new(first, 0, last, last.Memory.Length);
        }
    }
}
