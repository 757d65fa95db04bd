using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Keeper;
using Kuasar.Sandbox.Stdio;
using SystemTask = System.Threading.Tasks.Task;
using TaskContract = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.Sandbox.Tasks;

/// <summary>
/// containerd's Task service for one containerd and namespace: checks what comes in once, turns it into calls of <see cref="ContainerTask"/>, and knows
/// no more. v2 and v3 of the service have the same messages and both end here.
/// </summary>
internal sealed class TaskService(TaskContext context, string endpointNamespace, TaskRegistry registry, Leftovers leftovers, string version)
    : TaskContract.TaskBase
{
    private static readonly Empty s_empty = new();

    /// <summary>What Shutdown asks for, where it means anything. It must return at once, so that the answer goes out.</summary>
    internal Action? ShutdownAsked { get; init; }

    private readonly RequestKeys _keys = new(context.Instance, endpointNamespace);

    public override async Task<CreateTaskResponse> Create(CreateTaskRequest request, ServerCallContext call)
    {
        var key = Key(request.Id, call);
        if (request.Checkpoint.Length > 0)
        {
            throw new SandboxException(SandboxError.Unimplemented, "restore from a checkpoint is not implemented");
        }
        if (call.RequestHeaders.Get(TtrpcFrame.AskedBefore) is not null && await registry.FindAsync(key).ConfigureAwait(false) is { } made && made.IsMadeBy(request))
        {
            // A keeper asks again: the sandboxer that made it died before it could say so, and perhaps before the event was sent.
            context.Events.Created(key, request, made.Init.ProcessId);
            return new CreateTaskResponse { Pid = (uint)made.Init.ProcessId };
        }
        var task = await registry.AddAsync(key, async () =>
        {
            await leftovers.RemoveAsync(context.Paths.TaskFolder(context.ContainerdAddress, key.Namespace, key.Id)).ConfigureAwait(false);
            return await TaskCreator.CreateAsync(context, key, request).ConfigureAwait(false);
        }).ConfigureAwait(false);
        return new CreateTaskResponse { Pid = (uint)task.Init.ProcessId };
    }

    public override async Task<StartResponse> Start(StartRequest request, ServerCallContext call) =>
        new() { Pid = (uint)await (await FindAsync(request.Id, call).ConfigureAwait(false)).StartAsync(ExecId(request.ExecId)).ConfigureAwait(false) };

    public override async Task<StateResponse> State(StateRequest request, ServerCallContext call)
    {
        var task = await FindAsync(request.Id, call).ConfigureAwait(false);
        var process = task.Find(ExecId(request.ExecId));
        var response = new StateResponse
        {
            Id = request.Id,
            Bundle = task.Bundle,
            Pid = (uint)process.ProcessId,
            Status = task.StateOf(process).ToContract(),
            Stdin = process.Addresses.Stdin,
            Stdout = process.Addresses.Stdout,
            Stderr = process.Addresses.Stderr,
            Terminal = process.Addresses.Terminal,
            ExecId = process.ExecId,
        };
        if (process.Exit.IsCompletedSuccessfully)
        {
            response.ExitStatus = process.Exit.Result.Code;
            response.ExitedAt = Timestamp.FromDateTimeOffset(process.Exit.Result.ExitedAt);
        }
        return response;
    }

    public override async Task<DeleteResponse> Delete(DeleteRequest request, ServerCallContext call)
    {
        var key = Key(request.Id, call);
        // A Create that its caller has given up may still be under way; its task is the one to delete.
        var task = await registry.FindSettledAsync(key).ConfigureAwait(false) ?? throw Unknown(key);
        if (request.ExecId.Length > 0)
        {
            return Deleted(await task.DeleteExecAsync(ExecId(request.ExecId)).ConfigureAwait(false));
        }
        var result = await task.DeleteAsync(force: false).ConfigureAwait(false);
        registry.Remove(task);
        return Deleted(result);
    }

    public override async Task<PidsResponse> Pids(PidsRequest request, ServerCallContext call)
    {
        var response = new PidsResponse();
        response.Processes.AddRange((await FindAsync(request.Id, call).ConfigureAwait(false)).GetProcesses());
        return response;
    }

    public override async Task<Empty> Exec(ExecProcessRequest request, ServerCallContext call)
    {
        var execId = ContainerdId.IsValid(request.ExecId) ? request.ExecId : throw Invalid("exec id", request.ExecId);
        var addresses = new StdioAddresses(request.Stdin, request.Stdout, request.Stderr, request.Terminal);
        (await FindAsync(request.Id, call).ConfigureAwait(false)).AddExec(execId, request.Spec, addresses);
        return s_empty;
    }

    public override async Task<WaitResponse> Wait(WaitRequest request, ServerCallContext call)
    {
        var process = (await FindAsync(request.Id, call).ConfigureAwait(false)).Find(ExecId(request.ExecId));
        var exit = await process.Exit.WaitAsync(call.CancellationToken).ConfigureAwait(false);
        return new WaitResponse { ExitStatus = exit.Code, ExitedAt = Timestamp.FromDateTimeOffset(exit.ExitedAt) };
    }

    public override Task<Empty> Kill(KillRequest request, ServerCallContext call) =>
        request.Signal is > 0 and <= 64
            ? OnTask(request.Id, call, task => task.KillAsync(ExecId(request.ExecId), (int)request.Signal, request.All))
            : throw Invalid("signal", request.Signal.ToString(System.Globalization.CultureInfo.InvariantCulture));

    public override Task<Empty> Pause(PauseRequest request, ServerCallContext call) =>
        OnTask(request.Id, call, task => task.PauseAsync());

    public override Task<Empty> Resume(ResumeRequest request, ServerCallContext call) =>
        OnTask(request.Id, call, task => task.ResumeAsync());

    public override Task<Empty> Update(UpdateTaskRequest request, ServerCallContext call) =>
        OnTask(request.Id, call, task => task.UpdateAsync(request.Resources));

    public override async Task<Empty> ResizePty(ResizePtyRequest request, ServerCallContext call)
    {
        await (await FindAsync(request.Id, call).ConfigureAwait(false)).ResizeAsync(ExecId(request.ExecId), request.Width, request.Height).ConfigureAwait(false);
        return s_empty;
    }

    public override async Task<Empty> CloseIO(CloseIORequest request, ServerCallContext call)
    {
        var task = await FindAsync(request.Id, call).ConfigureAwait(false);
        if (request.Stdin)
        {
            task.CloseStdin(ExecId(request.ExecId));
        }
        return s_empty;
    }

    public override async Task<StatsResponse> Stats(StatsRequest request, ServerCallContext call) =>
        new() { Stats = await (await FindAsync(request.Id, call).ConfigureAwait(false)).GetMetricsAsync().ConfigureAwait(false) };

    // The liveness probe of a containerd that starts: it must succeed for any id, also a sandbox's, or containerd takes it for dead.
    public override async Task<ConnectResponse> Connect(ConnectRequest request, ServerCallContext call)
    {
        var key = Key(request.Id, call);
        return new ConnectResponse
        {
            ShimPid = (uint)Environment.ProcessId,
            TaskPid = (uint)((await registry.FindAsync(key).ConfigureAwait(false))?.Init.ProcessId ?? context.Sandboxes.TryFind(key)?.ProcessId ?? 0),
            Version = version,
        };
    }

    // Asks a shim of one task to end. This server is of all tasks, and stays; but in a guest it is the machine that is asked.
    public override Task<Empty> Shutdown(ShutdownRequest request, ServerCallContext call)
    {
        ShutdownAsked?.Invoke();
        return SystemTask.FromResult(s_empty);
    }

    private TaskKey Key(string id, ServerCallContext call) => _keys.Of(id, call);

    private async ValueTask<ContainerTask> FindAsync(string id, ServerCallContext call)
    {
        var key = Key(id, call);
        return await registry.FindAsync(key).ConfigureAwait(false) ?? throw Unknown(key);
    }

    private static string ExecId(string id) => id.Length == 0 || ContainerdId.IsValid(id) ? id : throw Invalid("exec id", id);

    private static SandboxException Unknown(TaskKey key) => new(SandboxError.NotFound, $"no task {key}");

    private static SandboxException Invalid(string what, string value) => RequestKeys.Invalid(what, value);

    private async Task<Empty> OnTask(string id, ServerCallContext call, Func<ContainerTask, SystemTask> action)
    {
        await action(await FindAsync(id, call).ConfigureAwait(false)).ConfigureAwait(false);
        return s_empty;
    }

    private static DeleteResponse Deleted((int ProcessId, ExitStatus? Exit) result) => new()
    {
        Pid = (uint)result.ProcessId,
        ExitStatus = result.Exit?.Code ?? 0,
        ExitedAt = result.Exit is { } exit ? Timestamp.FromDateTimeOffset(exit.ExitedAt) : null,
    };
}
