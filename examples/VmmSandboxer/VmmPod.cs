using System.Text;
using System.Text.Json.Nodes;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Protocol.Contracts.TaskV2;
using Kuasar.Sandbox;
using Kuasar.Vmm;
using Kuasar.Vmm.Contracts;
using Container = Kuasar.Sandbox.Container;
using SystemTask = System.Threading.Tasks.Task;

namespace VmmSandboxer;

/// <summary>
/// A pod in a machine of its own. Its containers' files are in a folder that the guest sees; its network is the guest's; its containers are
/// tasks of the agent in there.
/// </summary>
internal sealed class VmmPod(SandboxSpec spec, SandboxerServices services, Hypervisor hypervisor, GuestDefaults defaults) : Sandbox
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(60), StopLimit = TimeSpan.FromSeconds(10), ClockPeriod = TimeSpan.FromSeconds(60);

    private readonly CancellationTokenSource _ending = new();
    private readonly Dictionary<string, ContainerSpec> _containers = [];
    private readonly PodFiles _files = new(spec);
    private readonly PodShare _share = new(Path.Combine(spec.WorkDirectory, "share"));
    private VirtualMachine? _machine;
    private AgentClient? _agent;

    public override int ProcessId => _machine?.ProcessId ?? 0;

    public override Task<ExitStatus> Exited => ExitedAsync();

    private VmEnvironment Environment => new(Path.Combine(spec.GetShortDirectory(), "vm"))
    {
        Processes = new HostVmProcesses(services.Processes, spec),
        Save = record => spec.Save(record),
        HoldConnection = services.HoldConnection,
        LoggerFactory = services.LoggerFactory,
        TimeProvider = services.TimeProvider,
    };

    public override async SystemTask StartAsync(CancellationToken cancellationToken)
    {
        _files.Write();
        _share.Make();
        using var network = spec.NetworkNamespace is { Length: > 0 } path ? await GuestNetwork.AttachAsync(path) : GuestNetwork.None;
        var config = ConfigFor(network);
        _machine = hypervisor.Create(config, Environment);
        // Before the boot: a guest that calls where nobody listens waits for seconds.
        await using var callHome = _machine.EndPoint(AgentClient.CallHomePort).Listen();
        await _machine.BootAsync(cancellationToken);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _ = _machine.Exited.ContinueWith(_ => limit.Cancel(), TaskScheduler.Default);
        Use(_machine);
        try
        {
            await _agent!.WaitReadyAsync(callHome, BootLimit, limit.Token);
        }
        catch (OperationCanceledException) when (_machine.Exited.IsCompletedSuccessfully)
        {
            throw new SandboxException(SandboxError.Unknown, $"the guest has ended before its agent was ready: {_machine.Exited.Result.Detail}");
        }
        await _agent.SetupSandboxAsync(Encoding.UTF8.GetBytes(PodConfig().ToJsonString()), network, cancellationToken);
        Attend();
    }

    internal async SystemTask RecoverAsync(CancellationToken cancellationToken)
    {
        if (!TypeUrl.TryUnpack<VmRecord>(spec.Saved, out var record))
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"nothing is recorded of the machine of pod {spec.Id}");
        }
        Use(await hypervisor.RecoverAsync(record, Environment, cancellationToken));
        Attend();
    }

    private void Use(VirtualMachine machine)
    {
        _machine = machine;
        var agent = _agent = AgentClient.For(machine, new AgentClientOptions { LoggerFactory = services.LoggerFactory, TimeProvider = services.TimeProvider });
        machine.GuestPowerOff = async token => await agent.Tasks.ShutdownAsync(new ShutdownRequest { Now = true }, cancellationToken: token);
    }

    /// <summary>What goes on while it lives: its clock is set, and what it tells is passed on.</summary>
    private void Attend()
    {
        _ = QuietlyAsync(() => _agent!.KeepClockAsync(ClockPeriod, _ending.Token));
        _ = QuietlyAsync(async () =>
        {
            await foreach (var envelope in _agent!.GetEventsAsync(_ending.Token))
            {
                if (TypeUrl.TryUnpack<TaskOOM>(envelope.Event, out var oom))
                {
                    Find(oom.ContainerId)?.ReportOutOfMemory();
                }
            }
        });

        static async SystemTask QuietlyAsync(Func<SystemTask> attend)
        {
            try
            {
                await attend();
            }
            catch (Exception e) when (e is OperationCanceledException or RpcException or ObjectDisposedException)
            {
                // The pod ends.
            }
        }
    }

    private VmConfig ConfigFor(GuestNetwork network)
    {
        var limits = spec.Pod?.Linux?.Resources;
        var extra = limits?.MemoryLimitInBytes ?? 0;
        return new VmConfig
        {
            Kernel = defaults.Kernel,
            Initrd = defaults.Initrd,
            CommandLine = "quiet",
            Vcpus = limits is { CpuQuota: > 0, CpuPeriod: > 0 } ? (int)Math.Clamp((limits.CpuQuota + limits.CpuPeriod - 1) / limits.CpuPeriod, 1, 64) : defaults.Vcpus,
            MemoryBytes = defaults.MemoryBytes + ((extra + (1 << 20) - 1) >> 20 << 20),
            Nets = [.. network.Taps.Select((tap, i) => new VmNet(FormattableString.Invariant($"net{i}"), tap.MacAddress) { Tap = tap.Handle })],
            FileSystems = [new VmFileSystem("share", "kuasar", _share.Folder)],
            Vsock = new VmVsock(),
            ConsoleLog = Path.Combine(spec.WorkDirectory, "console.log"),
        };
    }

    /// <summary>What the agent wants to know of the pod, in the names of CRI's PodSandboxConfig.</summary>
    private JsonObject PodConfig()
    {
        var pod = spec.Pod ?? new PodSandboxConfig { Hostname = spec.Id };
        var sysctls = new JsonObject();
        foreach (var (name, value) in pod.Linux?.Sysctls ?? [])
        {
            sysctls[name] = value;
        }
        return new JsonObject
        {
            ["hostname"] = pod.Hostname,
            ["linux"] = new JsonObject
            {
                ["sysctls"] = sysctls,
                ["security_context"] = new JsonObject
                {
                    ["namespace_options"] = new JsonObject { ["pid"] = (int)(pod.Linux?.SecurityContext?.NamespaceOptions?.Pid ?? NamespaceMode.Container) },
                },
            },
        };
    }

    public override async Task<Container> CreateContainerAsync(ContainerSpec container, CancellationToken cancellationToken)
    {
        var agent = _agent ?? throw new SandboxException(SandboxError.FailedPrecondition, $"pod {spec.Id} has no guest");
        _files.Apply(container.Oci, PodShare.SharedMemory);
        _share.Add(container, spec);
        Remember(container);
        try
        {
            return await VmmContainer.CreateAsync(this, container, _machine!, agent, cancellationToken);
        }
        catch
        {
            Forget(container);
            throw;
        }
    }

    public override async Task<Container> RecoverContainerAsync(ContainerSpec container, HostProcess? init, Cgroup? cgroup, CancellationToken cancellationToken)
    {
        Remember(container);
        return await VmmContainer.RecoverAsync(this, container, _machine!, _agent!, cancellationToken);
    }

    private ContainerSpec? Find(string id)
    {
        lock (_containers)
        {
            return _containers.GetValueOrDefault(id);
        }
    }

    private void Remember(ContainerSpec container)
    {
        lock (_containers)
        {
            _containers[container.Id] = container;
        }
    }

    /// <summary>The container has gone: its files go from the guest's sight.</summary>
    internal void Forget(ContainerSpec container)
    {
        lock (_containers)
        {
            _containers.Remove(container.Id);
        }
        _share.Remove(container.Id);
    }

    public override SystemTask PingAsync(CancellationToken cancellationToken) => _agent!.CheckAsync(cancellationToken);

    public override IReadOnlyDictionary<string, string> GetInfo() => new Dictionary<string, string>
    {
        ["hypervisor"] = hypervisor.Name,
        ["vm"] = _machine?.State.ToString() ?? nameof(VmState.Created),
        ["console"] = Path.Combine(spec.WorkDirectory, "console.log"),
    };

    public override async SystemTask StopAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (_machine is { } machine)
        {
            await machine.PowerDownAsync(timeout > TimeSpan.Zero ? timeout : StopLimit, cancellationToken);
        }
    }

    private async Task<ExitStatus> ExitedAsync()
    {
        var exit = await _machine!.Exited;
        return new ExitStatus(exit.Reason == VmExitReason.GuestShutdown ? 0u : ExitStatus.KilledCode, exit.At);
    }

    public override async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        if (_machine is { } machine)
        {
            await machine.KillAsync();
            await machine.DisposeAsync();
        }
        if (_agent is { } agent)
        {
            await agent.DisposeAsync();
        }
        if (spec.NetworkNamespace is { Length: > 0 } path)
        {
            await GuestNetwork.DetachAsync(path);
        }
        _share.RemoveAll();
        _ending.Dispose();
        await base.DisposeAsync();
    }
}
