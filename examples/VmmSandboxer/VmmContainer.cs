using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV2;
using Kuasar.Sandbox;
using Kuasar.Vmm;
using Container = Kuasar.Sandbox.Container;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;
using SystemTask = System.Threading.Tasks.Task;

namespace VmmSandboxer;

/// <summary>A container of a guest: a task of its agent.</summary>
internal sealed class VmmContainer : Container
{
    private const int MaxAttempts = 100;
    private static readonly TimeSpan AttemptPause = TimeSpan.FromMilliseconds(50);

    private readonly VmmPod _pod;
    private readonly ContainerSpec _spec;
    private readonly VirtualMachine _machine;
    private readonly AgentClient _agent;
    private readonly GuestProcess _init;

    private VmmContainer(VmmPod pod, ContainerSpec spec, VirtualMachine machine, AgentClient agent)
    {
        (_pod, _spec, _machine, _agent) = (pod, spec, machine, agent);
        _init = new GuestProcess(machine, agent, spec.Id, "");
    }

    internal static async Task<Container> CreateAsync(VmmPod pod, ContainerSpec spec, VirtualMachine machine, AgentClient agent, CancellationToken cancellationToken)
    {
        var container = new VmmContainer(pod, spec, machine, agent);
        var streams = container._init.OpenStreams(spec.Stdio);
        var request = new CreateTaskRequest
        {
            Id = spec.Id,
            Bundle = PodShare.BundleInGuest(spec.Id),
            Stdin = streams.Stdin,
            Stdout = streams.Stdout,
            Stderr = streams.Stderr,
            Terminal = streams.Terminal,
        };
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                await agent.Tasks.CreateAsync(request, cancellationToken: cancellationToken);
                return container;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.AlreadyExists && attempt < MaxAttempts)
            {
                // Of an earlier life, which did not live to write it down, and perhaps of another bundle; it may still be under way.
                await new GuestProcess(machine, agent, spec.Id, "").DeleteAsync(cancellationToken);
                await SystemTask.Delay(AttemptPause, cancellationToken);
            }
        }
    }

    internal static async Task<Container> RecoverAsync(VmmPod pod, ContainerSpec spec, VirtualMachine machine, AgentClient agent, CancellationToken cancellationToken)
    {
        var container = new VmmContainer(pod, spec, machine, agent);
        await container._init.RecoverStreamsAsync(spec.Stdio, cancellationToken);
        return container;
    }

    /// <summary>Its machine's; its own is the guest's, and nothing to anybody here.</summary>
    public override int ProcessId => _machine.ProcessId;

    public override bool IsRemote => true;

    public override Task<ExitStatus> Exited => _init.Exited;

    public override async SystemTask StartAsync(CancellationToken cancellationToken) =>
        await _agent.Tasks.StartAsync(new StartRequest { Id = _spec.Id }, cancellationToken: cancellationToken);

    public override async Task<bool> IsStartedAsync(CancellationToken cancellationToken) => (await _init.StateAsync(cancellationToken))?.Status != Status.Created;

    public override async Task<ContainerProcess> StartExecAsync(ExecSpec exec, CancellationToken cancellationToken)
    {
        var process = new GuestProcess(_machine, _agent, _spec.Id, exec.Id);
        var streams = process.OpenStreams(exec.Stdio);
        var request = new ExecProcessRequest
        {
            Id = _spec.Id,
            ExecId = exec.Id,
            Spec = new Any { TypeUrl = TypeUrl.OciProcess, Value = UnsafeByteOperations.UnsafeWrap(exec.Process) },
            Stdin = streams.Stdin,
            Stdout = streams.Stdout,
            Stderr = streams.Stderr,
            Terminal = streams.Terminal,
        };
        try
        {
            await _agent.Tasks.ExecAsync(request, cancellationToken: cancellationToken);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.AlreadyExists)
        {
            // Of a life that did not live to write it down. What runs already is not run twice.
            if (await process.StateAsync(cancellationToken) is { Status: not Status.Created } known)
            {
                return new VmmExec(process, (int)known.Pid);
            }
        }
        try
        {
            var started = await _agent.Tasks.StartAsync(new StartRequest { Id = _spec.Id, ExecId = exec.Id }, cancellationToken: cancellationToken);
            return new VmmExec(process, (int)started.Pid);
        }
        catch (RpcException)
        {
            await process.DeleteAsync(CancellationToken.None);
            throw;
        }
    }

    public override async Task<ContainerProcess> RecoverExecAsync(ExecSpec exec, HostProcess? process, CancellationToken cancellationToken)
    {
        var recovered = new GuestProcess(_machine, _agent, _spec.Id, exec.Id);
        await recovered.RecoverStreamsAsync(exec.Stdio, cancellationToken);
        return new VmmExec(recovered, _machine.ProcessId);
    }

    public override SystemTask SignalAsync(int signal, CancellationToken cancellationToken) => _init.SignalAsync(signal, all: false, cancellationToken);

    public override SystemTask SignalAllAsync(int signal, CancellationToken cancellationToken) => _init.SignalAsync(signal, all: true, cancellationToken);

    public override SystemTask ResizeAsync(uint columns, uint rows, CancellationToken cancellationToken) => _init.ResizeAsync(columns, rows, cancellationToken);

    public override async SystemTask PauseAsync(CancellationToken cancellationToken) =>
        await _agent.Tasks.PauseAsync(new PauseRequest { Id = _spec.Id }, cancellationToken: cancellationToken);

    public override async SystemTask ResumeAsync(CancellationToken cancellationToken) =>
        await _agent.Tasks.ResumeAsync(new ResumeRequest { Id = _spec.Id }, cancellationToken: cancellationToken);

    public override async SystemTask UpdateAsync(ReadOnlyMemory<byte> resources, CancellationToken cancellationToken) => await _agent.Tasks.UpdateAsync(
        new UpdateTaskRequest
        {
            Id = _spec.Id,
            Resources = new Any { TypeUrl = TypeUrl.OciLinuxResources, Value = UnsafeByteOperations.UnsafeWrap(resources) },
        },
        cancellationToken: cancellationToken);

    public override async Task<Any> GetMetricsAsync(CancellationToken cancellationToken) =>
        (await _agent.Tasks.StatsAsync(new StatsRequest { Id = _spec.Id }, cancellationToken: cancellationToken)).Stats;

    public override async SystemTask DeleteAsync(CancellationToken cancellationToken)
    {
        await _init.DeleteAsync(cancellationToken);
        _pod.Forget(_spec);
    }
}

/// <summary>An exec of a guest's container.</summary>
internal sealed class VmmExec(GuestProcess process, int processId) : ContainerProcess
{
    /// <summary>The guest's number for it.</summary>
    public override int ProcessId => processId;

    public override Task<ExitStatus> Exited => process.Exited;

    public override SystemTask SignalAsync(int signal, CancellationToken cancellationToken) => process.SignalAsync(signal, all: false, cancellationToken);

    public override SystemTask ResizeAsync(uint columns, uint rows, CancellationToken cancellationToken) => process.ResizeAsync(columns, rows, cancellationToken);

    public override SystemTask DeleteAsync(CancellationToken cancellationToken) => process.DeleteAsync(cancellationToken);
}
