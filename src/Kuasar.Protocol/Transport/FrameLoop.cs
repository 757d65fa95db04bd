using System.IO.Pipelines;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Transport;

/// <summary>Takes frames off a connection. Must not block: every stream of the connection waits meanwhile.</summary>
internal interface IFrameSink
{
    void OnFrame(in Frame frame);
}

/// <summary>The one reader loop, for both ends.</summary>
internal static class FrameLoop
{
    /// <summary>Reads until the peer closes. Transport errors and <see cref="FrameFormatException"/> come out.</summary>
    internal static async Task RunAsync(PipeReader input, int limit, IFrameSink sink)
    {
        var frames = new FrameReader();
        while (true)
        {
            var result = await input.ReadAsync().ConfigureAwait(false);
            var buffer = result.Buffer;
            try
            {
                while (frames.TryRead(ref buffer, limit, out var frame))
                {
                    sink.OnFrame(frame);
                }
                if (result.IsCanceled)
                {
                    return;
                }
                if (result.IsCompleted)
                {
                    if (!buffer.IsEmpty || !frames.BetweenFrames)
                    {
                        throw new FrameFormatException("The peer closed within a frame.");
                    }
                    return;
                }
            }
            finally
            {
                input.AdvanceTo(buffer.Start, buffer.End);
            }
        }
    }
}
