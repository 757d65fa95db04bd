using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.Transfer;

namespace Kuasar.Sandbox.Stdio;

/// <summary>
/// containerd's Streaming service, for the standard streams of processes. A client names a stream first and is answered at once, whether or not
/// its process is there yet; then bytes go one way and leave to send more the other way.
/// </summary>
/// <remarks>
/// Of stdin, at most <see cref="Window"/> bytes are under way: that much the client may send at first, and what the process has taken it is told; what
/// it has taken from earlier clients too, if the client asks.
/// Output is sent as it comes, until the client grants a window, as containerd's own reader does: from then on it gets no more than it granted, and
/// what it has been sent and not granted anew is sent again to the client that comes after it (<see cref="OutputWindow"/>). A client that says its
/// position is sent nothing before its first grant, so that all is counted.
/// </remarks>
internal sealed class StreamingService(StreamTable streams, TimeProvider time) : Streaming.StreamingBase
{
    private const int Window = 32 * 1024;

    private static readonly TimeSpan ProcessLimit = TimeSpan.FromMinutes(1);

    public override async Task Stream(IAsyncStreamReader<Any> requestStream, IServerStreamWriter<Any> responseStream, ServerCallContext context)
    {
        var stop = context.CancellationToken;
        if (!await requestStream.MoveNext(stop).ConfigureAwait(false) || !TryRead<StreamInit>(requestStream.Current, out var init) || !StreamTable.IsId(init.Id))
        {
            throw new SandboxException(SandboxError.InvalidArgument, "the first message of a stream is not a StreamInit with an id");
        }
        await responseStream.WriteAsync(TypeUrl.Pack(new Empty()), stop).ConfigureAwait(false);
        switch (await streams.FindAsync(init.Id, ProcessLimit, time, stop).ConfigureAwait(false))
        {
            case OutputPipe output:
                await SendAsync(output, init, requestStream, responseStream, stop).ConfigureAwait(false);
                break;
            case InputPipe input:
                await ReceiveAsync(input, init, requestStream, responseStream, stop).ConfigureAwait(false);
                break;
        }
    }

    private async Task SendAsync(
        OutputPipe output, StreamInit init, IAsyncStreamReader<Any> requests, IServerStreamWriter<Any> responses, CancellationToken cancellationToken)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var window = new OutputWindow(isCounted: init.HasPosition);
        var granting = ReadGrantsAsync(requests, window, ended.Token);
        await output.CopyToAsync(
            (bytes, stop) => responses.WriteAsync(TypeUrl.Pack(new Data { Data_ = UnsafeByteOperations.UnsafeWrap(bytes) }), stop),
            (long)Math.Min(init.Position, long.MaxValue),
            window,
            time,
            cancellationToken).ConfigureAwait(false);
        await ended.CancelAsync().ConfigureAwait(false);
        await granting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private static async Task ReadGrantsAsync(IAsyncStreamReader<Any> requests, OutputWindow window, CancellationToken cancellationToken)
    {
        while (await requests.MoveNext(cancellationToken).ConfigureAwait(false))
        {
            if (TryRead<WindowUpdate>(requests.Current, out var grant))
            {
                window.Grant(grant.Update);
            }
        }
    }

    private static Task ReceiveAsync(
        InputPipe input, StreamInit init, IAsyncStreamReader<Any> requests, IServerStreamWriter<Any> responses, CancellationToken cancellationToken)
    {
        return input.CopyFromAsync(BeginAsync, ReceiveAsync, GrantAsync, cancellationToken);

        async Task BeginAsync(long position, CancellationToken stop)
        {
            if (init.HasPosition)
            {
                await responses.WriteAsync(TypeUrl.Pack(new StreamInit { Id = init.Id, Position = (ulong)position }), stop).ConfigureAwait(false);
            }
            await GrantAsync(Window, stop).ConfigureAwait(false);
        }

        async Task<ReadOnlyMemory<byte>?> ReceiveAsync(CancellationToken stop)
        {
            while (await requests.MoveNext(stop).ConfigureAwait(false))
            {
                if (TryRead<Data>(requests.Current, out var data) && data.Data_.Length > 0)
                {
                    return data.Data_.Memory;
                }
            }
            return null;
        }

        Task GrantAsync(int bytes, CancellationToken stop) => responses.WriteAsync(TypeUrl.Pack(new WindowUpdate { Update = bytes }), stop);
    }

    private static bool TryRead<T>(Any message, out T content) where T : class, IMessage<T>, new()
    {
        try
        {
            if (TypeUrl.TryUnpack<T>(message, out var read))
            {
                content = read;
                return true;
            }
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"not a {message.TypeUrl}: {e.Message}", e);
        }
        content = new T();
        return false;
    }
}
