using BenchmarkDotNet.Attributes;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Framing;

namespace Kuasar.Benchmarks;

/// <summary>What does it cost to put one request with a payload of so many bytes into the send buffer?</summary>
[MemoryDiagnoser]
public class FrameWriting
{
    private static readonly byte[] s_name = "\x0A\x17containerd.task.v3.Task\x12\x05State"u8.ToArray();
    private readonly OutputBuffer _buffer = new();
    private readonly FrameBuilder _frame = new(4 << 20);
    private BytesValue _message = new();

    [Params(64, 4096, 262144)]
    public int Size { get; set; }

    [GlobalSetup]
    public void Setup() => _message = Sample.Blob(Size);

    [Benchmark]
    public int Write()
    {
        _frame.Begin(_buffer, FrameType.Request, FrameFlags.RemoteClosed, 1);
        _frame.WriteBytes(s_name);
        RequestWriter.WriteTimeout(_frame, 5_000_000_000);
        _frame.WriteMessage(RequestWriter.PayloadTag, _message);
        _frame.End();
        var length = _buffer.Length;
        _buffer.Release();
        return length;
    }
}
