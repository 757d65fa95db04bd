using System.Collections.Concurrent;
using System.Threading.Channels;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.Transfer;
using Task = System.Threading.Tasks.Task;

namespace Kuasar.Vmm.Agent.Tests.Support;

/// <summary>The streaming service of vmm-task: channels of 128 messages, a window of 32 KiB for stdin, the last reader of an output has it.</summary>
internal sealed class GuestStreams : Streaming.StreamingBase
{
    private const int Window = 32 * 1024;
    private readonly ConcurrentDictionary<string, GuestStream> _streams = [];

    public GuestStream Of(string id) => _streams.GetOrAdd(id, static _ => new GuestStream());

    public override async Task Stream(IAsyncStreamReader<Any> requests, IServerStreamWriter<Any> responses, ServerCallContext context)
    {
        Assert.True(await requests.MoveNext(context.CancellationToken));
        Assert.True(TypeUrl.TryUnpack<StreamInit>(requests.Current, out var init));
        if (init.Id == "refused-stdout")
        {
            throw new RpcException(new Status(StatusCode.NotFound, "no such stream"));
        }
        await responses.WriteAsync(TypeUrl.Pack(new Empty()), context.CancellationToken);
        var stream = Of(init.Id);
        if (init.Id.EndsWith("stdin", StringComparison.Ordinal))
        {
            await ReadInputAsync(stream, requests, responses, context.CancellationToken);
        }
        else
        {
            await WriteOutputAsync(stream, responses, context.CancellationToken);
        }
    }

    private static async Task ReadInputAsync(GuestStream stream, IAsyncStreamReader<Any> requests, IServerStreamWriter<Any> responses, CancellationToken gone)
    {
        var window = 0;
        try
        {
            while (true)
            {
                if (window < Window)
                {
                    await responses.WriteAsync(TypeUrl.Pack(new WindowUpdate { Update = Window }), gone);
                    window += Window;
                }
                if (!await requests.MoveNext(gone))
                {
                    stream.Ended = true;
                    return;
                }
                Assert.True(TypeUrl.TryUnpack<Data>(requests.Current, out var data));
                stream.LargestMessage = Math.Max(stream.LargestMessage, data.Data_.Length);
                Interlocked.Add(ref stream.Received, data.Data_.Length);
                await stream.Messages.Writer.WriteAsync(data.Data_, gone);
                window -= data.Data_.Length;
            }
        }
        finally
        {
            stream.Readers--;
            stream.Messages.Writer.TryComplete();
        }
    }

    private static async Task WriteOutputAsync(GuestStream stream, IServerStreamWriter<Any> responses, CancellationToken gone)
    {
        using var mine = CancellationTokenSource.CreateLinkedTokenSource(gone);
        await stream.TakeOverAsync(mine);
        try
        {
            while (stream.Unsent is not null || await stream.Messages.Reader.WaitToReadAsync(mine.Token))
            {
                if (stream.Unsent is null && stream.Messages.Reader.TryRead(out var message))
                {
                    stream.Unsent = message;
                }
                if (stream.Unsent is { } next)
                {
                    await responses.WriteAsync(TypeUrl.Pack(new Data { Data_ = next }), gone);
                    stream.Unsent = null;
                    Interlocked.Add(ref stream.Sent, next.Length);
                    mine.Token.ThrowIfCancellationRequested();
                }
            }
        }
        catch (OperationCanceledException) when (!gone.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.Unknown, "channel is preempted"));
        }
        finally
        {
            stream.LetGo(mine);
        }
    }
}

internal sealed class GuestStream
{
    private readonly Channel<bool> _owner = Channel.CreateBounded<bool>(1); // full: somebody reads
    private CancellationTokenSource? _current;

    public Channel<ByteString> Messages { get; } = Channel.CreateBounded<ByteString>(128);
    public ByteString? Unsent { get; set; }
    public long Sent;
    public long Received;
    public int LargestMessage { get; set; }
    public bool Ended { get; set; }
    public int Readers { get; set; }

    public async Task TakeOverAsync(CancellationTokenSource mine)
    {
        try
        {
            Interlocked.Exchange(ref _current, mine)?.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It has just ended by itself.
        }
        await _owner.Writer.WriteAsync(true, mine.Token);
    }

    public bool IsBeingRead => _owner.Reader.Count > 0;

    public void LetGo(CancellationTokenSource mine)
    {
        Interlocked.CompareExchange(ref _current, null, mine);
        _owner.Reader.TryRead(out _);
    }
}
