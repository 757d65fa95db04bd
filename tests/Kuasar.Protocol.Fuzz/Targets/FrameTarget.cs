using System.Buffers;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Fuzz.Engine;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>Frames and what is in them, the bytes coming in pieces as a socket brings them.</summary>
internal sealed class FrameTarget : FuzzTarget
{
    private const int Limit = 256;

    internal override string Name => "frames";

    internal override int MaxLength => 512;

    internal override long AllocationBound(int length) => (256 << 10) + (512L * length);

    internal override IEnumerable<byte[]> Seeds() =>
        from cuts in new byte[] { 0, 1, 4 }
        from bytes in new[] { SeedInputs.Requests(), SeedInputs.Responses(), SeedInputs.Oddities() }
        select (byte[])[cuts, 0, .. bytes];

    internal override ValueTask RunAsync(byte[] input)
    {
        var plan = Plan.Of(input);
        var expected = PlainFrames.Read(plan.Bytes, Limit);
        var found = ReadInPieces(plan, out var bad, out var atEnd);
        FuzzFailure.Unless(bad == expected.Bad, $"bad is {bad}, expected {expected.Bad}");
        FuzzFailure.Unless(found.Count == expected.Frames.Count, $"{found.Count} frames, expected {expected.Frames.Count}");
        foreach (var (frame, plain) in found.Zip(expected.Frames))
        {
            FuzzFailure.Unless(
                frame with { Data = plain.Data } == plain && frame.Data.AsSpan().SequenceEqual(plain.Data), $"{frame} is not {plain}");
        }
        FuzzFailure.Unless(bad || atEnd == (expected.Missing == 0), $"at an end: {atEnd}, but {expected.Missing} bytes are missing");
        foreach (var frame in found)
        {
            // Each frame's data, cut as the whole was.
            Envelopes.Check(plan with { Bytes = frame.Data });
        }
        return default;
    }

    // As FrameLoop: what was not consumed is offered again with the next piece.
    private static List<PlainFrame> ReadInPieces(Plan plan, out bool bad, out bool atEnd)
    {
        var frames = new List<PlainFrame>();
        var reader = new FrameReader();
        // Segments as they came, so that headers and bodies lie across them.
        var all = plan.Segmented();
        var (consumed, offered) = (0, 0);
        (bad, atEnd) = (false, true);
        foreach (var piece in plan.Pieces())
        {
            offered += piece.Length;
            var buffer = all.Slice(consumed, offered - consumed);
            var before = buffer.Length;
            try
            {
                while (reader.TryRead(ref buffer, Limit, out var frame))
                {
                    frames.Add(new(frame.StreamId, (byte)frame.Type, (byte)frame.Header.Flags, frame.Oversized, frame.Data.ToArray()));
                }
            }
            catch (FrameFormatException)
            {
                bad = true;
                return frames;
            }
            FuzzFailure.Unless(buffer.Length < FrameHeader.Size + Limit, $"{buffer.Length} bytes are kept");
            consumed += (int)(before - buffer.Length);
            atEnd = buffer.IsEmpty && reader.BetweenFrames;
        }
        return frames;
    }
}
