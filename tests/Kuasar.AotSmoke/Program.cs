// Says OK when calls, streams, interceptors, spans, metrics and Any work in a native executable.
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.TaskV3;

using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
var (spans, durations) = (0, 0);
using var spanListener = new ActivityListener
{
    ShouldListenTo = source => source.Name == TtrpcTelemetry.ActivitySourceName,
    Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
    ActivityStopped = span =>
    {
        // The server's is the child of the client's: the context has travelled.
        Check(span.Kind == ActivityKind.Client || span.HasRemoteParent, "trace context");
        Interlocked.Increment(ref spans);
    },
};
ActivitySource.AddActivityListener(spanListener);
using var meterListener = new MeterListener
{
    InstrumentPublished = (instrument, listener) =>
    {
        if (instrument.Name == "rpc.server.call.duration")
        {
            listener.EnableMeasurementEvents(instrument);
        }
    },
};
meterListener.SetMeasurementEventCallback<double>((_, _, _, _) => Interlocked.Increment(ref durations));
meterListener.Start();

await using var server = new TtrpcServer();
Kuasar.Protocol.Contracts.TaskV3.Task.BindService(server.Services.Intercept(new Counter()), new Tasks());
Streaming.BindService(server.Services, new Echo());
var (near, far) = ConnectionPair.Create();
var serving = server.ServeAsync(far, CancellationToken.None);
await using (var client = new TtrpcClient(near))
{
    var answer = await new Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient(client)
        .ConnectAsync(new ConnectRequest { Id = "a" }, cancellationToken: limit.Token);
    Check(answer is { ShimPid: 42, Version: "a" }, "unary call");

    using var stream = new Streaming.StreamingClient(client).Stream(cancellationToken: limit.Token);
    for (var i = 1; i <= 3; i++)
    {
        await stream.RequestStream.WriteAsync(TypeUrl.Pack(new ConnectRequest { Id = $"{i}" }), limit.Token);
        Check(await stream.ResponseStream.MoveNext(limit.Token), "stream");
        var back = stream.ResponseStream.Current;
        Check(back.TypeUrl == "containerd.task.v3.ConnectRequest", "type url");
        Check(TypeUrl.TryUnpack<ConnectRequest>(back, out var message) && message.Id == $"{i}", "unpack");
        Check(!TypeUrl.Is<ConnectResponse>(back), "another type");
    }
    await stream.RequestStream.CompleteAsync();
    Check(!await stream.ResponseStream.MoveNext(limit.Token), "end of stream");
}
await server.StopAsync(TimeSpan.FromSeconds(5));
await serving.WaitAsync(limit.Token);
Check((Counter.Calls, spans, durations) == (1, 4, 2), $"{Counter.Calls} intercepted, {spans} spans, {durations} durations");
Console.WriteLine("OK");

static void Check(bool holds, string what)
{
    if (!holds)
    {
        throw new InvalidOperationException($"wrong: {what}");
    }
}

internal sealed class Counter : Interceptor
{
    internal static int Calls;

    public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        Interlocked.Increment(ref Calls);
        return continuation(request, context);
    }
}

internal sealed class Tasks : Kuasar.Protocol.Contracts.TaskV3.Task.TaskBase
{
    public override Task<ConnectResponse> Connect(ConnectRequest request, ServerCallContext context) =>
        System.Threading.Tasks.Task.FromResult(new ConnectResponse { ShimPid = 42, Version = request.Id });
}

internal sealed class Echo : Streaming.StreamingBase
{
    public override async System.Threading.Tasks.Task Stream(
        IAsyncStreamReader<Any> requestStream, IServerStreamWriter<Any> responseStream, ServerCallContext context)
    {
        while (await requestStream.MoveNext(context.CancellationToken))
        {
            await responseStream.WriteAsync(requestStream.Current, context.CancellationToken);
        }
    }
}
