using System.Collections.Concurrent;
using System.Globalization;
using Google.Protobuf;
using Kuasar.Protocol.Interop.Tests.Protos;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>The service in C#: server.go says the same in Go.</summary>
internal sealed class OurPeer : Peer.PeerBase
{
    private readonly ConcurrentDictionary<int, TaskCompletionSource> _turns = new();
    private int _begun, _deadlines, _cancels;

    /// <summary>Calls that have come so far.</summary>
    internal int Begun => Volatile.Read(ref _begun);

    /// <summary>Handlers of Wait and Idle that their connection's end has ended.</summary>
    internal int Cancelled => Volatile.Read(ref _cancels);

    public override Task<BytesValue> Echo(BytesValue request, ServerCallContext context) => Task.FromResult(request);

    public override Task<BytesValue> Fail(BytesValue request, ServerCallContext context)
    {
        var status = RpcStatus.Parser.ParseFrom(request.Value);
        throw new RpcException(
            new Status((StatusCode)status.Code, status.Message), new Metadata { { "grpc-status-details-bin", request.Value.ToByteArray() } });
    }

    public override Task<BytesValue> Meta(BytesValue request, ServerCallContext context) => Task.FromResult(Values(request, context));

    public override Task MetaDown(BytesValue request, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context) =>
        responseStream.WriteAsync(Values(request, context));

    public override Task<BytesValue> TimeLeft(BytesValue request, ServerCallContext context) => Task.FromResult(Messages.Text(
        context.Deadline == DateTime.MaxValue ? "none" : Messages.Number((long)(context.Deadline - DateTime.UtcNow).TotalMilliseconds)));

    public override Task<BytesValue> Give(BytesValue request, ServerCallContext context) =>
        Task.FromResult(Messages.Blob(request.ToNumber()));

    public override async Task<BytesValue> Nap(BytesValue request, ServerCallContext context)
    {
        Interlocked.Increment(ref _begun);
        await Task.Delay(request.ToNumber());
        return request;
    }

    public override async Task<BytesValue> Wait(BytesValue request, ServerCallContext context)
    {
        await UntilOverAsync(context);
        return request;
    }

    public override Task Idle(
        IAsyncStreamReader<BytesValue> requestStream, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context) =>
        UntilOverAsync(context);

    public override Task<BytesValue> Waits(BytesValue request, ServerCallContext context) => Task.FromResult(Messages.Text(
        string.Create(CultureInfo.InvariantCulture, $"{Volatile.Read(ref _deadlines)} deadlines, {Cancelled} cancelled")));

    public override async Task<BytesValue> Turn(BytesValue request, ServerCallContext context)
    {
        var parts = request.Value.ToStringUtf8().Split('/');
        var (i, n) = (int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[1], CultureInfo.InvariantCulture));
        if (i + 1 < n)
        {
            await Gate(i + 1).Task;
        }
        Gate(i).SetResult();
        return request;
    }

    public override async Task Down(BytesValue request, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context)
    {
        var count = request.ToNumber();
        for (var i = 0; i < count; i++)
        {
            await responseStream.WriteAsync(Messages.Text(Messages.Number(i)));
        }
    }

    public override Task Last(BytesValue request, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context) =>
        responseStream.WriteAsync(request);

    public override async Task<BytesValue> Up(IAsyncStreamReader<BytesValue> requestStream, ServerCallContext context)
    {
        var (count, size) = (0, 0);
        while (await requestStream.MoveNext(default))
        {
            count++;
            size += requestStream.Current.Value.Length;
        }
        return Messages.Text(string.Create(CultureInfo.InvariantCulture, $"{count} messages, {size} bytes"));
    }

    public override Task<BytesValue> Reject(IAsyncStreamReader<BytesValue> requestStream, ServerCallContext context) =>
        throw new RpcException(new Status(StatusCode.FailedPrecondition, "rejected"));

    public override async Task Both(
        IAsyncStreamReader<BytesValue> requestStream, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context)
    {
        while (await requestStream.MoveNext(default))
        {
            await responseStream.WriteAsync(requestStream.Current);
        }
    }

    public override async Task Quit(
        IAsyncStreamReader<BytesValue> requestStream, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context)
    {
        await responseStream.WriteAsync(Messages.Text("one"));
        await responseStream.WriteAsync(Messages.Text("two"));
        throw new RpcException(new Status(StatusCode.Aborted, "quit"));
    }

    private static BytesValue Values(BytesValue key, ServerCallContext context)
    {
        var values = context.RequestHeaders.GetAll(key.Value.ToStringUtf8()).Select(entry => entry.Value).ToArray();
        return Messages.Text(values.Length == 0 ? "none" : string.Join(Messages.Separator, values));
    }

    private async Task UntilOverAsync(ServerCallContext context)
    {
        Interlocked.Increment(ref _begun);
        try
        {
            await Task.Delay(Timeout.Infinite, context.CancellationToken);
        }
        finally
        {
            // Timers and the clock are not the same; nobody cancels that close to a deadline.
            var passed = context.Deadline <= DateTime.UtcNow.AddMilliseconds(20);
            Interlocked.Increment(ref passed ? ref _deadlines : ref _cancels);
        }
    }

    private TaskCompletionSource Gate(int i) =>
        _turns.GetOrAdd(i, static _ => new(TaskCreationOptions.RunContinuationsAsynchronously));
}
