using Grpc.Core;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Client;

/// <summary>A call with a stream of responses: server streaming and duplex. It is the stream as well.</summary>
internal sealed class ReceivingCall<TRequest, TResponse>(
    ClientConnection connection, Method<TRequest, TResponse> method, in CallOptions options)
    : ClientCall(connection, method, options), IAsyncStreamReader<TResponse>
    where TRequest : class
    where TResponse : class
{
    private readonly MessageQueue<TResponse> _messages = new(connection.Options.StreamQueueLimit);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private static readonly Task<bool> s_true = Task.FromResult(true);
    private TResponse? _current;

    public TResponse Current => _current ?? throw new InvalidOperationException("There is no current message.");

    protected override Task Ended => _ended.Task;

    internal void Start(TRequest request)
    {
        if (TryBegin())
        {
            _ = SendAsync(FrameFlags.RemoteClosed, method.RequestMarshaller, request);
        }
    }

    internal RequestStream<TRequest> Open()
    {
        var opened = TryBegin() ? SendAsync<TRequest>(FrameFlags.OpenStream, null, null) : Task.CompletedTask;
        return new RequestStream<TRequest>(this, method.RequestMarshaller, opened);
    }

    /// <remarks>Cancelling the wait cancels the call, as in Grpc.Net.</remarks>
    public Task<bool> MoveNext(CancellationToken cancellationToken) =>
        _messages.TryDequeue(out _current) ? s_true : WaitAsync(cancellationToken);

    private async Task<bool> WaitAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (await _messages.WaitAsync(cancellationToken).ConfigureAwait(false))
            {
                if (_messages.TryDequeue(out _current))
                {
                    return true;
                }
            }
            return false;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            Cancel();
            throw EndedError() as RpcException ?? new RpcException(new Status(StatusCode.Cancelled, "the wait was cancelled"));
        }
    }

    /// <summary>"PROTOCOL.md lets a server end a stream with an OK Response"; a payload in it is one more message.</summary>
    protected override IThreadPoolWorkItem? OnResponse(in ResponseEnvelope response)
    {
        IThreadPoolWorkItem? wake = null;
        if (response.Payload.IsEmpty || Accept(response.Payload, out wake))
        {
            End(Status.DefaultSuccess);
        }
        return wake;
    }

    internal override IThreadPoolWorkItem? OnData(in Frame frame)
    {
        IThreadPoolWorkItem? wake = null;
        if ((!frame.HasMessage || Accept(frame.Data, out wake)) && frame.EndsStream)
        {
            End(Status.DefaultSuccess);
        }
        return wake;
    }

    protected override void OnEnded()
    {
        _messages.Complete(Error);
        _ended.TrySetResult();
    }

    /// <summary>The queue wakes its reader itself.</summary>
    public override void Execute()
    {
    }

    private bool Accept(in System.Buffers.ReadOnlySequence<byte> payload, out IThreadPoolWorkItem? wake)
    {
        wake = null;
        if (!TryRead(method.ResponseMarshaller, payload, out var message))
        {
            return false;
        }
        if (_messages.TryEnqueue(message!, payload.Length, out wake))
        {
            return true;
        }
        End(new Status(StatusCode.ResourceExhausted, "the stream's messages are not read fast enough"));
        return false;
    }
}
