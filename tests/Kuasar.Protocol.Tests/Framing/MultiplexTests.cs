using System.Buffers;
using System.Buffers.Binary;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class MultiplexTests
{
    [Fact]
    public void Reader_AtEverySegmentation_GivesTheBytesOfEach()
    {
        byte[] bytes = [.. Frame(1, [1, 2, 3]), .. Frame(2, []), .. Frame(0xFFFF_FFFE, [9]), .. Frame(1, [4, 5])];
        foreach (var sequence in Segments.Every(bytes))
        {
            Assert.Equal([(1u, "010203"), (0xFFFF_FFFEu, "09"), (1u, "0405")], Read([sequence]));
        }
    }

    [Fact]
    public void Reader_ByteByByte_GivesThemAsTheyCome()
    {
        byte[] bytes = [.. Frame(7, [1, 2]), .. Frame(8, [3])];
        var reader = new MultiplexReader();
        var (got, kept) = (new List<(uint, byte)>(), new List<byte>());
        foreach (var b in bytes)
        {
            kept.Add(b);
            var buffer = new ReadOnlySequence<byte>(kept.ToArray());
            while (reader.TryRead(ref buffer, out var id, out var piece))
            {
                got.Add((id, Assert.Single(piece.ToArray())));
            }
            kept = [.. buffer.ToArray()];
        }
        Assert.Equal([(7, 1), (7, 2), (8, 3)], got);
        Assert.True(reader.BetweenFrames);
    }

    [Fact]
    public void Reader_ALargeFrame_ComesInPieces_AndItsEndIsKnown()
    {
        var reader = new MultiplexReader();
        var buffer = new ReadOnlySequence<byte>(Frame(1, new byte[MultiplexReader.MaxLength]));
        var (count, sum) = (0, 0L);
        while (reader.TryRead(ref buffer, out _, out var piece))
        {
            Assert.InRange(piece.Length, 1, MultiplexReader.MaxPiece);
            (count, sum) = (count + 1, sum + piece.Length);
            Assert.Equal(sum == MultiplexReader.MaxLength, reader.BetweenFrames);
        }
        Assert.Equal((65, MultiplexReader.MaxLength), (count, sum));
    }

    [Theory]
    [InlineData(MultiplexReader.MaxLength + 1u)]
    [InlineData(uint.MaxValue)]
    public void Reader_TooLong_IsRefusedByItsHeader(uint length)
    {
        var header = new byte[MultiplexReader.HeaderSize];
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(4), length);
        var reader = new MultiplexReader();
        Assert.Throws<FrameFormatException>(() =>
        {
            var buffer = new ReadOnlySequence<byte>(header);
            return reader.TryRead(ref buffer, out _, out _);
        });
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(4095)]
    [InlineData(4097)]
    [InlineData(int.MaxValue)]
    public void Splitter_WhateverIsWritten_EveryFrameFitsTheReadOfGo(int write)
    {
        int[] sizes = [0, 1, 4085, 4086, 4087, 4095, 4096, 4097, 0, 8181, 8182, 8183, 100_000, 5, 5, 5, 12_000, 1];
        var stream = sizes.SelectMany((size, i) => RawPeer.Frame((uint)i, FrameType.Data, 0, Body(size))).ToArray();
        var splitter = new MultiplexSplitter();
        var frames = new List<byte[]>();
        for (var rest = stream.AsMemory(); !rest.IsEmpty;)
        {
            var written = rest[..Math.Min(write, rest.Length)];
            rest = rest[written.Length..];
            while (!written.IsEmpty)
            {
                var length = splitter.Next(written.Span);
                frames.Add(written[..length].ToArray());
                written = written[length..];
            }
        }
        Assert.Equal(stream, frames.SelectMany(frame => frame));
        Assert.Equal(sizes, new GoReader(frames).ReadAll());
        // Small ones together, and the large body in one, where all is there at once.
        Assert.True(write != int.MaxValue || frames.Count < 30, $"{frames.Count} frames");
    }

    [Fact]
    public void Splitter_OfBytesThatAreNoTtrpc_LosesNone()
    {
        var splitter = new MultiplexSplitter();
        var bytes = new byte[100_000];
        new Random(1).NextBytes(bytes);
        for (var rest = bytes.AsSpan(); !rest.IsEmpty;)
        {
            var length = splitter.Next(rest);
            Assert.InRange(length, 1, rest.Length);
            rest = rest[length..];
        }
    }

    internal static byte[] Frame(uint id, byte[] data)
    {
        var frame = new byte[MultiplexReader.HeaderSize + data.Length];
        BinaryPrimitives.WriteUInt32BigEndian(frame, id);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(4), (uint)data.Length);
        data.CopyTo(frame, MultiplexReader.HeaderSize);
        return frame;
    }

    private static byte[] Body(int size) => [.. Enumerable.Range(0, size).Select(i => (byte)i)];

    private static List<(uint, string)> Read(IEnumerable<ReadOnlySequence<byte>> input)
    {
        var reader = new MultiplexReader();
        var got = new List<(uint Id, string Data)>();
        foreach (var sequence in input)
        {
            var buffer = sequence;
            while (reader.TryRead(ref buffer, out var id, out var piece))
            {
                got.Add((id, Convert.ToHexString(piece.ToArray())));
            }
            Assert.True(buffer.IsEmpty && reader.BetweenFrames);
        }
        return got;
    }

    /// <summary>
    /// How Go's ttrpc reads from NRI's multiplexer: through a buffer of 4096 bytes, past it when more is wanted and it is empty;
    /// and a frame that is larger than what it is read into is an error.
    /// </summary>
    private sealed class GoReader(List<byte[]> frames)
    {
        private ReadOnlyMemory<byte> _buffered;
        private int _next;

        public IEnumerable<int> ReadAll()
        {
            while (_next < frames.Count || !_buffered.IsEmpty)
            {
                var header = new byte[FrameHeader.Size];
                Fill(header);
                var body = new byte[BinaryPrimitives.ReadUInt32BigEndian(header)];
                Fill(body);
                Assert.Equal(Body(body.Length), body);
                yield return body.Length;
            }
        }

        private void Fill(Memory<byte> wanted)
        {
            while (!wanted.IsEmpty)
            {
                if (_buffered.IsEmpty)
                {
                    var frame = frames[_next++];
                    Assert.True(frame.Length <= Math.Max(wanted.Length, 4096), "ENOMEM");
                    _buffered = frame;
                }
                var count = Math.Min(wanted.Length, _buffered.Length);
                _buffered[..count].CopyTo(wanted);
                (wanted, _buffered) = (wanted[count..], _buffered[count..]);
            }
        }
    }
}
