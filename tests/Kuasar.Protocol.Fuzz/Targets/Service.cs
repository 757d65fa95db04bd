using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Fuzz.Protos;
using Kuasar.Protocol.Server;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>The service behind the server: echoes, or what a message's deed says. Counts its handlers.</summary>
internal sealed class Service : S.SBase
{
    private const int MostMessages = 8;
    private int _running;

    /// <summary>Handlers that have begun and not ended.</summary>
    internal int Running => Volatile.Read(ref _running);

    /// <summary>The library's side of the connection, once a unary call came through.</summary>
    internal ServerConnection? Connection { get; private set; }

    public override async Task<M> U(M request, ServerCallContext context)
    {
        Connection = ((ServerCall)context).Connection;
        return await CountAsync(() => DoAsync(request, context));
    }

    public override async Task D(M request, IServerStreamWriter<M> responseStream, ServerCallContext context) =>
        await CountAsync(async () =>
        {
            for (var i = 0; i < Math.Min(request.Deed, MostMessages); i++)
            {
                await responseStream.WriteAsync(request);
            }
            return await DoAsync(request, context);
        });

    public override async Task<M> C(IAsyncStreamReader<M> requestStream, ServerCallContext context) =>
        await CountAsync(async () =>
        {
            var last = new M();
            while (await requestStream.MoveNext(default))
            {
                last = await DoAsync(requestStream.Current, context);
            }
            return last;
        });

    public override async Task B(IAsyncStreamReader<M> requestStream, IServerStreamWriter<M> responseStream, ServerCallContext context) =>
        await CountAsync(async () =>
        {
            while (await requestStream.MoveNext(context.CancellationToken))
            {
                await responseStream.WriteAsync(await DoAsync(requestStream.Current, context));
            }
            return new M();
        });

    private async Task<M> CountAsync(Func<Task<M>> handler)
    {
        Interlocked.Increment(ref _running);
        try
        {
            return await handler();
        }
        finally
        {
            Interlocked.Decrement(ref _running);
        }
    }

    private static async Task<M> DoAsync(M message, ServerCallContext context)
    {
        switch (message.Deed)
        {
            case 1:
                throw new InvalidOperationException("deed 1");
            case 2:
                throw new RpcException(new Status(StatusCode.NotFound, "deed 2"), new Metadata { { "grpc-status-details-bin", [8, 5] } });
            case 3:
                await Task.Delay(Timeout.Infinite, context.CancellationToken);
                break;
            case 4:
                return new M { Blob = ByteString.CopyFrom(new byte[ServerTarget.Limit]) }; // more than a frame holds
            case 5:
                context.Status = new Status(StatusCode.Aborted, new string('ä', ServerTarget.Limit));
                break;
            case 6:
                await Task.Yield();
                break;
            case 7:
                return null!;
            case 8:
                context.CancellationToken.Register(static () => throw new HandlerCallbackException());
                break;
            default:
                break;
        }
        return message;
    }
}

/// <summary>What a handler's callback on its token throws. It comes out nowhere, which is known and well.</summary>
internal sealed class HandlerCallbackException : Exception;
