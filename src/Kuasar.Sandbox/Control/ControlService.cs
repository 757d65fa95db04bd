using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Tasks;

namespace Kuasar.Sandbox.Control;

/// <summary>What shims ask: where to send containerd, and to be rid of one id.</summary>
internal sealed class ControlService(
    DomainPaths paths,
    Sandboxer sandboxer,
    Endpoints endpoints,
    ContainerdVersions versions,
    TaskRegistry registry,
    SandboxManager sandboxes,
    Leftovers leftovers,
    TimeProvider time) : Protocol.Contracts.Control.Control.ControlBase
{
    public override async Task<ResolveResponse> Resolve(ResolveRequest request, ServerCallContext context)
    {
        Check(request.Containerd, request.Namespace, request.Id);
        return new ResolveResponse
        {
            Version = await versions.GetTaskVersionAsync(request.Containerd).ConfigureAwait(false),
            Address = endpoints.Listen(request.Containerd, request.Namespace),
            Protocol = "ttrpc",
        };
    }

    public override async Task<RemoveResponse> Remove(RemoveRequest request, ServerCallContext context)
    {
        Check(request.Containerd, request.Namespace, request.Id);
        var key = new TaskKey(DomainPaths.InstanceKey(request.Containerd.GrpcAddress), request.Namespace, request.Id);
        var (pid, exit) = await RemoveAsync(key, request).ConfigureAwait(false);
        var sandboxPid = await sandboxes.RemoveAsync(key, request.Containerd.GrpcAddress).ConfigureAwait(false);
        return new RemoveResponse
        {
            Pid = (uint)(pid > 0 ? pid : sandboxPid),
            ExitStatus = exit?.Code ?? ExitStatus.KilledCode,
            ExitedAt = Timestamp.FromDateTimeOffset(exit?.ExitedAt ?? time.GetUtcNow()),
        };
    }

    private async Task<(int ProcessId, ExitStatus? Exit)> RemoveAsync(TaskKey key, RemoveRequest request)
    {
        if (await registry.FindSettledAsync(key).ConfigureAwait(false) is { } task)
        {
            try
            {
                var result = await task.DeleteAsync(force: true).ConfigureAwait(false);
                registry.Remove(task);
                return result;
            }
            catch (SandboxException e) when (e.Error == SandboxError.NotFound && task.Init.State == ProcessState.Deleted)
            {
                // Deleted at the same time.
                return (task.Init.ProcessId, task.Init.Exit.IsCompletedSuccessfully ? task.Init.Exit.Result : null);
            }
        }
        var pid = 0;
        var folder = paths.TaskFolder(request.Containerd.GrpcAddress, key.Namespace, key.Id);
        await registry.WhileFreeAsync(key, async () => pid = await leftovers.RemoveAsync(folder).ConfigureAwait(false)).ConfigureAwait(false);
        return (pid, null);
    }

    public override async Task<InfoResponse> Info(InfoRequest request, ServerCallContext context) =>
        new() { Info = TypeUrl.Pack(await sandboxer.GetInfoAsync(context.CancellationToken).ConfigureAwait(false)) };

    private static void Check(ContainerdInstance? containerd, string containerdNamespace, string id)
    {
        if (string.IsNullOrEmpty(containerd?.GrpcAddress) || string.IsNullOrEmpty(containerd.TtrpcAddress))
        {
            throw new SandboxException(SandboxError.InvalidArgument, "the request names no containerd");
        }
        if (!ContainerdId.IsValid(containerdNamespace) || !ContainerdId.IsValid(id))
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"not an identifier: namespace \"{containerdNamespace}\", id \"{id}\"");
        }
    }
}
