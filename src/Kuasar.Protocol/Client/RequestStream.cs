using Grpc.Core;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Client;

/// <summary>The sending side of a client or duplex stream.</summary>
internal sealed class RequestStream<TRequest>(ClientCall call, Marshaller<TRequest> marshaller, Task opened)
    : IClientStreamWriter<TRequest>
    where TRequest : class
{
    private bool _completed;

    public WriteOptions? WriteOptions { get; set; }

    public Task WriteAsync(TRequest message) => WriteAsync(message, CancellationToken.None);

    /// <remarks>Cancelling a write that waits leaves the stream whole: the message was not sent.</remarks>
    public async Task WriteAsync(TRequest message, CancellationToken cancellationToken)
    {
        if (_completed)
        {
            throw new InvalidOperationException("The request stream is completed.");
        }
        if (!opened.IsCompletedSuccessfully)
        {
            await opened.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        try
        {
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var result = call.Writer.TryWrite(FrameType.Data, call.StreamId, 0, marshaller, message, call, call.Writer.TakeAnswer());
                if (!await IsDoneAsync(result, cancellationToken).ConfigureAwait(false))
                {
                    continue;
                }
                return;
            }
        }
        catch (MessageTooLargeException error)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, error.Message));
        }
    }

    public async Task CompleteAsync()
    {
        if (_completed)
        {
            return;
        }
        _completed = true;
        await opened.ConfigureAwait(false);
        while (!call.IsEnded)
        {
            // A call that has ended needs no end frame: the server does not know the stream any more.
            var result = call.Writer.TryWriteEnd(call.StreamId, call, call.Writer.TakeAnswer());
            if (result != WriteResult.Full)
            {
                return;
            }
            await call.RoomAsync().ConfigureAwait(false);
        }
    }

    private async ValueTask<bool> IsDoneAsync(WriteResult result, CancellationToken cancellationToken)
    {
        switch (result)
        {
            case WriteResult.Written:
                return true;
            case WriteResult.Full:
                await call.RoomAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
                return false;
            case WriteResult.Closed:
                call.End(new Status(StatusCode.Unavailable, "the connection is closed"));
                throw call.EndedError();
            default:
                throw call.EndedError();
        }
    }
}
