using Grpc.Core;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Client;

/// <summary>A unary call whose caller's thread waits. The object is used again when nothing but the stream table knew it.</summary>
internal sealed class BlockingCall<TRequest, TResponse> : ClientCall
    where TRequest : class
    where TResponse : class
{
    private readonly Lazy<TaskCompletionSource> _ended = new(
        static () => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
    private readonly bool _isPlain;
    private bool _done; // under the monitor of this object, which no one else has

    private BlockingCall(ClientConnection connection, IMethod method, in CallOptions options, bool isPlain)
        : base(connection, method, options) => _isPlain = isPlain;

    /// <summary>Asked for only when the request must wait for room.</summary>
    protected override Task Ended => _ended.Value.Task;

    /// <summary>Makes the call and waits for its end.</summary>
    internal static TResponse Run(
        ClientConnection connection, Method<TRequest, TResponse> method, in CallOptions options, TRequest request)
    {
        // A timer or a token may call back late, and must not find another call then.
        var isPlain = options.Deadline is null && options.Headers is null && !options.CancellationToken.CanBeCanceled;
        var call = isPlain ? connection.TakeSpare(method) as BlockingCall<TRequest, TResponse> : null;
        call ??= new BlockingCall<TRequest, TResponse>(connection, method, options, isPlain);
        return call.Run(method, request);
    }

    protected override IThreadPoolWorkItem? OnResponse(in ResponseEnvelope response)
    {
        if (TryRead(((Method<TRequest, TResponse>)Method).ResponseMarshaller, response.Payload, out var message) && TrySucceed(message!))
        {
            Execute();
        }
        return null;
    }

    /// <summary>Data is not for us.</summary>
    internal override IThreadPoolWorkItem? OnData(in Frame frame) => null;

    protected override void OnEnded() => Execute();

    public override void Execute()
    {
        if (_ended.IsValueCreated)
        {
            _ended.Value.TrySetResult();
        }
        lock (this)
        {
            _done = true;
            Monitor.Pulse(this);
        }
    }

    private TResponse Run(Method<TRequest, TResponse> method, TRequest request)
    {
        if (TryBegin())
        {
            _ = SendAsync(FrameFlags.None, method.RequestMarshaller, request);
        }
        lock (this)
        {
            while (!_done)
            {
                Monitor.Wait(this);
            }
        }
        if (Error is { } error)
        {
            throw error;
        }
        var message = (TResponse)Result;
        if (_isPlain && !_ended.IsValueCreated)
        {
            _done = false;
            Renew();
            Connection.KeepSpare(this);
        }
        return message;
    }
}
