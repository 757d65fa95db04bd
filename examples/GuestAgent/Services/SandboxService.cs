using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using GuestAgent.Network;
using GuestAgent.Pods;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Sandbox;
using Kuasar.Vmm.Contracts.Agent;

namespace GuestAgent.Services;

/// <summary>What the host asks of the guest beside its tasks: the agent's own service.</summary>
internal sealed class SandboxService(TaskServer tasks, PodNamespaces namespaces, GuestNetwork network)
    : Kuasar.Vmm.Contracts.Agent.SandboxService.SandboxServiceBase
{
    private const string PodConfigUrl = "PodSandboxConfig";

    private static readonly Empty s_empty = new();

    // What containerd gives a pod whose pause container it makes itself, in its own defaults (enable_unprivileged_ports and _icmp).
    private static readonly Dictionary<string, string> s_defaults = new()
    {
        ["net.ipv4.ip_unprivileged_port_start"] = "0",
        ["net.ipv4.ping_group_range"] = "0 2147483647",
    };

    public override Task<Empty> Check(CheckRequest request, ServerCallContext context) => Task.FromResult(s_empty);

    public override async Task<Empty> SetupSandbox(SetupSandboxRequest request, ServerCallContext context)
    {
        var pod = request.Config is null ? PodConfig.None
            : request.Config.TypeUrl.EndsWith(PodConfigUrl, StringComparison.Ordinal) ? PodConfig.Parse(request.Config.Value.Span)
            : throw new SandboxException(SandboxError.InvalidArgument, $"the configuration is no {PodConfigUrl} but {request.Config.TypeUrl}");
        if (pod.HostName.Length > 0)
        {
            Libc.SetHostName(pod.HostName);
        }
        await namespaces.MakeAsync(pod.SharesProcesses, tasks.Services);
        await network.UpdateInterfacesAsync(request.Interfaces, context.CancellationToken);
        network.UpdateRoutes(request.Routes);
        SetSysctls(s_defaults);
        // After the network: there are sysctls of each interface.
        SetSysctls(pod.Sysctls);
        return s_empty;
    }

    public override async Task<Empty> UpdateInterfaces(UpdateInterfacesRequest request, ServerCallContext context)
    {
        await network.UpdateInterfacesAsync(request.Interfaces, context.CancellationToken);
        return s_empty;
    }

    public override Task<Empty> UpdateRoutes(UpdateRoutesRequest request, ServerCallContext context)
    {
        network.UpdateRoutes(request.Routes);
        return Task.FromResult(s_empty);
    }

    public override async Task<ExecVMProcessResponse> ExecVMProcess(ExecVMProcessRequest request, ServerCallContext context) => new()
    {
        Out = await GuestShell.RunAsync(request.Command, request.Stdin.Memory, tasks.Services.Processes, context.CancellationToken),
    };

    // The first call measures, the second brings what the host has made of it.
    public override Task<SyncClockPacket> SyncClock(SyncClockPacket request, ServerCallContext context)
    {
        var answer = request.Clone();
        answer.ClientArriveTime = Now();
        if (request.Delta != 0)
        {
            Libc.AdjustClock(TimeSpan.FromMicroseconds(request.Delta / 1000.0));
        }
        answer.ServerSendTime = Now();
        return Task.FromResult(answer);

        static long Now() => (DateTime.UtcNow - DateTime.UnixEpoch).Ticks * 100;
    }

    public override async Task<Envelope> GetEvents(Empty request, ServerCallContext context) => await tasks.NextEventAsync(context.CancellationToken);

    private static void SetSysctls(IReadOnlyDictionary<string, string> sysctls)
    {
        foreach (var (name, value) in sysctls)
        {
            var path = "/proc/sys/" + name.Replace('.', '/');
            if (name.Contains("..", StringComparison.Ordinal) || !File.Exists(path))
            {
                throw new SandboxException(SandboxError.InvalidArgument, $"the guest has no sysctl {name}");
            }
            File.WriteAllText(path, value);
        }
    }
}
