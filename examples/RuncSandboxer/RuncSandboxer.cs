using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Runc;
using Kuasar.Sandbox;
using RuntimeInfo = Kuasar.Protocol.Contracts.Types.RuntimeInfo;
using RuntimeVersion = Kuasar.Protocol.Contracts.Types.RuntimeVersion;

namespace RuncSandboxer;

/// <summary>
/// Containers by runc. With a pause container of containerd's (podsandbox) a pod needs nothing of its own here; on the routes of the Sandbox
/// API there is none, and what the containers of a pod share is ours to make.
/// </summary>
internal sealed class RuncSandboxer(string runtimePath, bool systemdCgroup) : Sandboxer
{
    public override Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken) =>
        Task.FromResult<Sandbox>(spec.Pod is null ? new RuncSandbox(RuntimeOf(spec)) : new RuncPod(new LinuxPod(spec, Services), RuntimeOf(spec)));

    public override Task<Sandbox> RecoverSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken)
    {
        if (spec.Pod is null || !spec.WasStarted)
        {
            return CreateSandboxAsync(spec, cancellationToken);
        }
        var pod = new LinuxPod(spec, Services);
        pod.Recover();
        return Task.FromResult<Sandbox>(new RuncPod(pod, RuntimeOf(spec)));
    }

    public override async Task<RuntimeInfo> GetInfoAsync(CancellationToken cancellationToken)
    {
        var runtime = new OciRuntime(new OciRuntimeOptions { Path = runtimePath, Root = Path.Combine(Services.RunDirectory, "runtime") }, Services);
        return new RuntimeInfo
        {
            Name = "io.containerd.kuasar-runc.v1",
            Version = new RuntimeVersion { Version = await runtime.GetVersionAsync(cancellationToken) },
            Features = TypeUrl.PackJson(TypeUrl.OciFeatures, await runtime.GetFeaturesAsync(cancellationToken)),
        };
    }

    // runc knows containers by id alone, so each containerd and namespace has a state folder of its own.
    private Func<Options, OciRuntime> RuntimeOf(SandboxSpec sandbox) => options => new OciRuntime(new OciRuntimeOptions
    {
        Path = options.BinaryName.Length > 0 ? options.BinaryName : runtimePath,
        Root = Path.Combine(options.Root.Length > 0 ? options.Root : Path.Combine(Services.RunDirectory, "runtime"), sandbox.Instance, sandbox.Namespace),
        SystemdCgroup = systemdCgroup || options.SystemdCgroup,
        NoPivotRoot = options.NoPivotRoot,
        NoNewKeyring = options.NoNewKeyring,
    }, Services);
}

internal class RuncSandbox(Func<Options, OciRuntime> runtimeFor) : Sandbox
{
    public override async Task<Container> CreateContainerAsync(ContainerSpec spec, CancellationToken cancellationToken)
    {
        var runtime = RuntimeFor(spec);
        var init = await runtime.CreateAsync(spec, cancellationToken);
        return new RuncContainer(runtime, spec, init, Cgroup.OfProcess(init.ProcessId));
    }

    public override Task<Container> RecoverContainerAsync(ContainerSpec spec, HostProcess? init, Cgroup? cgroup, CancellationToken cancellationToken) =>
        Task.FromResult<Container>(new RuncContainer(RuntimeFor(spec), spec, init!, cgroup));

    private OciRuntime RuntimeFor(ContainerSpec spec)
    {
        TypeUrl.TryUnpack<Options>(spec.Options, out var options);
        return runtimeFor(options ?? new Options());
    }
}

/// <summary>A pod without a pause container.</summary>
internal sealed class RuncPod(LinuxPod pod, Func<Options, OciRuntime> runtimeFor) : RuncSandbox(runtimeFor)
{
    public override int ProcessId => pod.ProcessId;

    public override Task<ExitStatus> Exited => pod.Exited;

    public override Task StartAsync(CancellationToken cancellationToken) => pod.StartAsync(cancellationToken);

    public override Task<Container> CreateContainerAsync(ContainerSpec spec, CancellationToken cancellationToken)
    {
        pod.Apply(spec);
        return base.CreateContainerAsync(spec, cancellationToken);
    }

    public override Task<Any> GetMetricsAsync(CancellationToken cancellationToken) => Task.FromResult(pod.GetMetrics());

    public override Task UpdateAsync(SandboxResources resources, CancellationToken cancellationToken)
    {
        pod.Update(resources);
        return Task.CompletedTask;
    }

    public override async ValueTask DisposeAsync()
    {
        await pod.DisposeAsync();
        await base.DisposeAsync();
    }
}
