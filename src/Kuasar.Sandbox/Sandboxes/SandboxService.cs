using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol.Contracts.RuntimeSandbox;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Tasks;
using Contract = Kuasar.Protocol.Contracts.RuntimeSandbox.Sandbox;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>
/// containerd's Sandbox service for one containerd and namespace, beside the Task service: what its <c>shim</c> controller calls. It turns
/// requests into calls of the manager, and knows no more.
/// </summary>
internal sealed class SandboxService(TaskContext context, string endpointNamespace) : Contract.SandboxBase
{
    private readonly RequestKeys _keys = new(context.Instance, endpointNamespace);

    public override async Task<CreateSandboxResponse> CreateSandbox(CreateSandboxRequest request, ServerCallContext call)
    {
        var key = _keys.Of(request.SandboxId, call);
        SandboxRequest.RefuseRootfs(request.Rootfs);
        await context.Sandboxes.CreateAsync(
            key, new SandboxRequest(context.ContainerdAddress, request.BundlePath, request.Options, request.NetnsPath)).ConfigureAwait(false);
        return new CreateSandboxResponse();
    }

    public override async Task<StartSandboxResponse> StartSandbox(StartSandboxRequest request, ServerCallContext call)
    {
        var sandbox = await context.Sandboxes.StartAsync(_keys.Of(request.SandboxId, call)).ConfigureAwait(false);
        return new StartSandboxResponse { Pid = (uint)sandbox.ProcessId, CreatedAt = Timestamp.FromDateTimeOffset(sandbox.CreatedAt) };
    }

    public override Task<PlatformResponse> Platform(PlatformRequest request, ServerCallContext call) =>
        Task.FromResult(new PlatformResponse { Platform = Find(request.SandboxId, call).Platform });

    public override async Task<StopSandboxResponse> StopSandbox(StopSandboxRequest request, ServerCallContext call)
    {
        await context.Sandboxes.StopAsync(
            _keys.Of(request.SandboxId, call), TimeSpan.FromSeconds(request.TimeoutSecs), call.CancellationToken).ConfigureAwait(false);
        return new StopSandboxResponse();
    }

    public override async Task<WaitSandboxResponse> WaitSandbox(WaitSandboxRequest request, ServerCallContext call)
    {
        var exit = await context.Sandboxes.WaitAsync(_keys.Of(request.SandboxId, call), call.CancellationToken).ConfigureAwait(false);
        return new WaitSandboxResponse { ExitStatus = exit.Code, ExitedAt = Timestamp.FromDateTimeOffset(exit.ExitedAt) };
    }

    public override Task<SandboxStatusResponse> SandboxStatus(SandboxStatusRequest request, ServerCallContext call)
    {
        var sandbox = Find(request.SandboxId, call);
        var response = new SandboxStatusResponse
        {
            SandboxId = request.SandboxId,
            Pid = (uint)sandbox.ProcessId,
            State = sandbox.StateName,
            CreatedAt = Timestamp.FromDateTimeOffset(sandbox.CreatedAt),
        };
        if (sandbox.Exit.IsCompletedSuccessfully)
        {
            response.ExitedAt = Timestamp.FromDateTimeOffset(sandbox.Exit.Result.ExitedAt);
        }
        if (request.Verbose)
        {
            response.Info.Add(sandbox.GetInfo().ToDictionary());
        }
        return Task.FromResult(response);
    }

    public override async Task<PingResponse> PingSandbox(PingRequest request, ServerCallContext call)
    {
        await context.Sandboxes.PingAsync(_keys.Of(request.SandboxId, call), call.CancellationToken).ConfigureAwait(false);
        return new PingResponse();
    }

    // Also of one that is not: containerd would keep the bundle and its connection for ever if it were told NotFound.
    public override async Task<ShutdownSandboxResponse> ShutdownSandbox(ShutdownSandboxRequest request, ServerCallContext call)
    {
        await context.Sandboxes.ShutdownAsync(_keys.Of(request.SandboxId, call), context.ContainerdAddress, call.CancellationToken).ConfigureAwait(false);
        return new ShutdownSandboxResponse();
    }

    public override async Task<SandboxMetricsResponse> SandboxMetrics(SandboxMetricsRequest request, ServerCallContext call) => new()
    {
        Metrics = await context.Sandboxes.GetMetricsAsync(_keys.Of(request.SandboxId, call), call.CancellationToken).ConfigureAwait(false),
    };

    private ManagedSandbox Find(string id, ServerCallContext call) => context.Sandboxes.Find(_keys.Of(id, call));
}
