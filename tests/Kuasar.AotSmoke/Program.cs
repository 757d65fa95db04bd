// Says OK when calls, streams and Any work in a native executable.
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.TaskV3;

using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
await using var server = new TtrpcServer();
Kuasar.Protocol.Contracts.TaskV3.Task.BindService(server.Services, new Tasks());
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
Console.WriteLine("OK");

static void Check(bool holds, string what)
{
    if (!holds)
    {
        throw new InvalidOperationException($"wrong: {what}");
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
