using System.Buffers;
using System.Collections.Concurrent;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Fuzz.Engine;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>The raw end of a connection: feeds it and keeps what comes back.</summary>
internal sealed class Peer(Connection connection) : IAsyncDisposable
{
    private const int MostPadding = 64 << 10;

    private readonly ConcurrentDictionary<uint, TaskCompletionSource<byte[]>> _answers = new();
    private readonly ArrayBufferWriter<byte> _received = new();
    private int _parsed;
    private Task _reading = Task.CompletedTask;

    /// <summary>Reads from now on, until the connection ends.</summary>
    internal void Read() => _reading = ReadAsync();

    /// <summary>
    /// Sends the plan's bytes, and zeros for what the last frame lacks unless that is much, until the other end closes the
    /// connection; gives back what was to be sent.
    /// </summary>
    internal async ValueTask<PlainFrames> FeedAsync(Plan plan, int limit)
    {
        var open = true;
        foreach (var piece in plan.Pieces())
        {
            open = open && await SendAsync(piece);
        }
        var plain = PlainFrames.Read(plan.Bytes, limit);
        var bytes = plan.Bytes;
        // More than once, as zeros in a header may announce still more.
        while (plain is { Bad: false, Missing: > 0 and <= MostPadding })
        {
            var padding = new byte[plain.Missing];
            open = open && await SendAsync(padding);
            bytes = [.. bytes, .. padding];
            plain = PlainFrames.Read(bytes, limit);
        }
        return plain;
    }

    /// <summary>False once the other end has closed the connection.</summary>
    internal async ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            await connection.Transport.Output.WriteAsync(bytes);
            return true;
        }
        catch (Exception error) when (error is InvalidOperationException or IOException)
        {
            // A pipe's and a socket's word for it.
            return false;
        }
    }

    /// <summary>The response on a stream, once it is there.</summary>
    internal async ValueTask<byte[]> AnswerAsync(uint id) => await Answer(id).Task;

    internal async ValueTask CloseAsync()
    {
        await connection.DisposeAsync();
        await _reading;
    }

    /// <summary>What came is ttrpc, as far as it came.</summary>
    internal void CheckReceived(int limit, bool serverSide)
    {
        var plain = PlainFrames.Read(_received.WrittenSpan, limit);
        FuzzFailure.Unless(!plain.Bad, "we sent no ttrpc");
        foreach (var frame in plain.Frames)
        {
            var type = (FrameType)frame.Type;
            FuzzFailure.Unless(!frame.Oversized, $"we sent {frame}");
            FuzzFailure.Unless(type == FrameType.Data || type == (serverSide ? FrameType.Response : FrameType.Request), $"we sent {frame}");
        }
    }

    public ValueTask DisposeAsync() => CloseAsync();

    private async Task ReadAsync()
    {
        var frames = new FrameReader();
        var input = connection.Transport.Input;
        try
        {
            while (true)
            {
                var result = await input.ReadAsync();
                var buffer = result.Buffer;
                foreach (var segment in buffer)
                {
                    _received.Write(segment.Span);
                }
                var rest = new ReadOnlySequence<byte>(_received.WrittenMemory[_parsed..]);
                while (frames.TryRead(ref rest, FrameReader.MaxLength, out var frame))
                {
                    if (frame.Type == FrameType.Response)
                    {
                        Answer(frame.StreamId).TrySetResult(frame.Data.ToArray());
                    }
                }
                _parsed = _received.WrittenCount - (int)rest.Length;
                input.AdvanceTo(buffer.End);
                if (result.IsCompleted)
                {
                    return;
                }
            }
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            // The connection was aborted, or closed by us while we read.
        }
        finally
        {
            foreach (var answer in _answers.Values)
            {
                answer.TrySetException(new FuzzFailure("the connection ended before the answer came"));
            }
        }
    }

    private TaskCompletionSource<byte[]> Answer(uint id) =>
        _answers.GetOrAdd(id, static _ => new(TaskCreationOptions.RunContinuationsAsynchronously));
}
