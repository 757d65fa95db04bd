using CsCheck;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class FrameBuilderProperties
{
    private const int Limit = 64;

    private static readonly Marshaller<byte[]> Honest = Marshallers.Create(static bytes => bytes, static bytes => bytes);

    /// <summary>What a marshaller may call, in any order and any number.</summary>
    private enum Step { Announce, Write, Complete, CompleteWithBytes }

    private static readonly Gen<(Step Step, int Count)[]> Scripts =
        Gen.Select(Gen.Enum<Step>(), Gen.Frequency((9, Gen.Int[0, 20]), (1, Gen.OneOf(-1, int.MinValue, int.MaxValue, Limit, Limit + 1)))).Array[0, 6];

    /// <summary>Whatever a marshaller does, its frame is whole or not there, and the frames around it are untouched.</summary>
    [Fact]
    public void AnyMarshaller_LeavesAWholeFrameOrNone() => Gen.Select(Scripts, Gen.OneOf<byte>(0, 0x12)).Sample((script, tag) =>
    {
        var buffer = new OutputBuffer();
        var frame = new FrameBuilder(Limit);
        Write(frame, buffer, Honest, [1], tag);
        var before = buffer.Length;
        byte[]? written = null;
        try
        {
            Write(frame, buffer, new Marshaller<byte[]>((_, context) => Run(script, context), static _ => []), [], tag);
            written = Data(buffer.Written.Span[before..], tag);
        }
        catch (Exception error) when (error is InvalidOperationException or MessageTooLargeException or ArgumentException)
        {
            frame.Cancel();
            Assert.Equal(before, buffer.Length);
        }
        var end = buffer.Length;
        Write(frame, buffer, Honest, [2, 2], tag);
        Assert.Equal([1], Data(buffer.Written.Span[..before], tag));
        Assert.Equal([2, 2], Data(buffer.Written.Span[end..], tag));
        if (written is not null)
        {
            // All that it wrote, in order: nothing is dropped unseen.
            Assert.Equal(script.Sum(step => step.Step is Step.Write or Step.CompleteWithBytes ? step.Count : 0), written.Length);
            Assert.All(written, value => Assert.Equal(0xAB, value));
        }
    }, iter: Arbitrary.Cases);

    [Theory]
    [InlineData(0)]
    [InlineData(0x12)]
    public void Size_AroundTheLimit_FitsUpToIt(byte tag)
    {
        for (var size = 0; size < 2 * Limit; size++)
        {
            var buffer = new OutputBuffer();
            var frame = new FrameBuilder(Limit);
            var fits = size + (tag == 0 ? 0 : 2) <= Limit;
            if (fits)
            {
                Write(frame, buffer, Honest, new byte[size], tag);
                Assert.Equal(size, Data(buffer.Written.Span, tag).Length);
            }
            else
            {
                Assert.Throws<MessageTooLargeException>(() => Write(frame, buffer, Honest, new byte[size], tag));
                frame.Cancel();
                Assert.Equal(0, buffer.Length);
            }
        }
    }

    private static void Run((Step Step, int Count)[] script, SerializationContext context)
    {
        foreach (var (step, count) in script)
        {
            switch (step)
            {
                case Step.Announce:
                    context.SetPayloadLength(count);
                    break;
                case Step.Write:
                    var size = count is < 0 or > Limit ? 1 : count;
                    var writer = context.GetBufferWriter();
                    writer.GetSpan(size)[..size].Fill(0xAB);
                    writer.Advance(count);
                    break;
                case Step.Complete:
                    context.Complete();
                    break;
                default:
                    var bytes = new byte[count is < 0 or > 2 * Limit ? 2 * Limit : count];
                    bytes.AsSpan().Fill(0xAB);
                    context.Complete(bytes);
                    break;
            }
        }
    }

    private static void Write(FrameBuilder frame, OutputBuffer buffer, Marshaller<byte[]> marshaller, byte[] message, byte tag)
    {
        frame.Begin(buffer, FrameType.Data, 0, 1);
        frame.WriteMessage(tag, marshaller, message);
        frame.End();
    }

    /// <summary>The message in a frame, which has to be all of it.</summary>
    private static byte[] Data(ReadOnlySpan<byte> bytes, byte tag)
    {
        var header = FrameHeader.Read(bytes);
        Assert.InRange(header.Length, 0u, (uint)Limit);
        Assert.Equal(bytes.Length - FrameHeader.Size, (int)header.Length);
        var data = bytes[FrameHeader.Size..];
        if (tag == 0)
        {
            return data.ToArray();
        }
        var response = Response.Parser.ParseFrom(data);
        Assert.Equal(new Response { Payload = response.Payload }.CalculateSize() + (response.Payload.IsEmpty ? 2 : 0), data.Length);
        return response.Payload.ToByteArray();
    }
}
