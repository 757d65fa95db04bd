using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.SandboxServices;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Tasks;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>
/// The sandbox controller of one containerd: what its proxy plugin calls, over gRPC. As <see cref="SandboxService"/> it turns requests into calls
/// of the manager; what it adds is where tasks go, since by this way no shim has told that.
/// </summary>
internal sealed class ControllerService(ContainerdInstance containerd, Endpoints endpoints) : Controller.ControllerBase
{
    private const string NamespaceHeader = "containerd-namespace";

    /// <summary>Of the Task service. A proxy plugin needs containerd 2.0, which has it; of any other version each container would have a shim of its own.</summary>
    private const uint TaskVersion = 3;

    private readonly TaskContext _context = endpoints.ContextOf(containerd);

    public override Task<ControllerCreateResponse> Create(ControllerCreateRequest request, ServerCallContext call) => AnswerAsync(async () =>
    {
        SandboxRequest.RefuseRootfs(request.Rootfs);
        await _context.Sandboxes.CreateAsync(
            Key(request.SandboxId, call),
            new SandboxRequest(_context.ContainerdAddress, Options: request.Options, NetworkNamespace: request.NetnsPath)).ConfigureAwait(false);
        return new ControllerCreateResponse { SandboxId = request.SandboxId };
    });

    public override Task<ControllerStartResponse> Start(ControllerStartRequest request, ServerCallContext call) => AnswerAsync(async () =>
    {
        var key = Key(request.SandboxId, call);
        // Before the start: a sandbox whose tasks nobody can reach is none.
        var address = TaskAddress(key);
        var sandbox = await _context.Sandboxes.StartAsync(key).ConfigureAwait(false);
        return new ControllerStartResponse
        {
            SandboxId = request.SandboxId,
            Pid = (uint)sandbox.ProcessId,
            CreatedAt = Timestamp.FromDateTimeOffset(sandbox.CreatedAt),
            Address = address,
            Version = TaskVersion,
        };
    });

    public override Task<ControllerPlatformResponse> Platform(ControllerPlatformRequest request, ServerCallContext call) => AnswerAsync(() =>
        Task.FromResult(new ControllerPlatformResponse { Platform = _context.Sandboxes.Find(Key(request.SandboxId, call)).Platform }));

    public override Task<ControllerStopResponse> Stop(ControllerStopRequest request, ServerCallContext call) => AnswerAsync(async () =>
    {
        await _context.Sandboxes.StopAsync(
            Key(request.SandboxId, call), TimeSpan.FromSeconds(request.TimeoutSecs), call.CancellationToken).ConfigureAwait(false);
        return new ControllerStopResponse();
    });

    public override Task<ControllerWaitResponse> Wait(ControllerWaitRequest request, ServerCallContext call) => AnswerAsync(async () =>
    {
        var exit = await _context.Sandboxes.WaitAsync(Key(request.SandboxId, call), call.CancellationToken).ConfigureAwait(false);
        return new ControllerWaitResponse { ExitStatus = exit.Code, ExitedAt = Timestamp.FromDateTimeOffset(exit.ExitedAt) };
    });

    public override Task<ControllerStatusResponse> Status(ControllerStatusRequest request, ServerCallContext call) => AnswerAsync(() =>
    {
        var key = Key(request.SandboxId, call);
        var sandbox = _context.Sandboxes.Find(key);
        var response = new ControllerStatusResponse
        {
            SandboxId = request.SandboxId,
            Pid = (uint)sandbox.ProcessId,
            State = sandbox.StateName,
            CreatedAt = Timestamp.FromDateTimeOffset(sandbox.CreatedAt),
            // A containerd that starts learns from here where the tasks are.
            Address = TaskAddress(key),
            Version = TaskVersion,
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
    });

    // NotFound is containerd's success; it says that somebody has removed it already.
    public override Task<ControllerShutdownResponse> Shutdown(ControllerShutdownRequest request, ServerCallContext call) => AnswerAsync(async () =>
    {
        var key = Key(request.SandboxId, call);
        return await _context.Sandboxes.ShutdownAsync(key, _context.ContainerdAddress, call.CancellationToken).ConfigureAwait(false)
            ? new ControllerShutdownResponse()
            : throw new SandboxException(SandboxError.NotFound, $"no sandbox {key}");
    });

    public override Task<ControllerMetricsResponse> Metrics(ControllerMetricsRequest request, ServerCallContext call) => AnswerAsync(async () => new ControllerMetricsResponse
    {
        Metrics = await _context.Sandboxes.GetMetricsAsync(Key(request.SandboxId, call), call.CancellationToken).ConfigureAwait(false),
    });

    // The CRI changes the pod's limits; whatever else of a sandbox may change is containerd's to keep.
    public override Task<ControllerUpdateResponse> Update(ControllerUpdateRequest request, ServerCallContext call) => AnswerAsync(async () =>
    {
        var sandbox = _context.Sandboxes.Find(Key(request.SandboxId, call));
        if (request.Sandbox is { } changed && changed.Extensions.TryGetValue(UpdatedResources.Key, out var extension))
        {
            await sandbox.UpdateAsync(UpdatedResources.Read(extension)).ConfigureAwait(false);
        }
        return new ControllerUpdateResponse();
    });

    private string TaskAddress(TaskKey key) => "ttrpc+" + endpoints.Listen(containerd, key.Namespace);

    // A containerd that was itself called with a namespace sends that one behind its own; the first counts, as with containerd's own servers.
    // ASP.NET Core makes one value of both.
    private TaskKey Key(string id, ServerCallContext call) =>
        RequestKeys.Of(_context.Instance, call.RequestHeaders.Get(NamespaceHeader)?.Value.Split(',')[0] ?? "", id);

    /// <summary>A gRPC server knows no errors but its own.</summary>
    private static async Task<T> AnswerAsync<T>(Func<Task<T>> answer)
    {
        try
        {
            return await answer().ConfigureAwait(false);
        }
        catch (Exception e) when (SandboxException.ToStatus(e) is { } status)
        {
            throw new RpcException(status);
        }
    }
}
