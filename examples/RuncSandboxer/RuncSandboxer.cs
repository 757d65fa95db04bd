using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Runc;
using Kuasar.Sandbox;
using RuntimeInfo = Kuasar.Protocol.Contracts.Types.RuntimeInfo;
using RuntimeVersion = Kuasar.Protocol.Contracts.Types.RuntimeVersion;

namespace RuncSandboxer;

/// <summary>Containers by runc. A pod needs nothing of its own here: containerd's pause container holds what its containers share.</summary>
internal sealed class RuncSandboxer(string runtimePath, bool systemdCgroup) : Sandboxer
{
    public override Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken) =>
        Task.FromResult<Sandbox>(new RuncSandbox(options => RuntimeFor(spec, options)));

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
    private OciRuntime RuntimeFor(SandboxSpec sandbox, Options options) => new(new OciRuntimeOptions
    {
        Path = options.BinaryName.Length > 0 ? options.BinaryName : runtimePath,
        Root = Path.Combine(options.Root.Length > 0 ? options.Root : Path.Combine(Services.RunDirectory, "runtime"), sandbox.Instance, sandbox.Namespace),
        SystemdCgroup = systemdCgroup || options.SystemdCgroup,
        NoPivotRoot = options.NoPivotRoot,
        NoNewKeyring = options.NoNewKeyring,
    }, Services);
}

internal sealed class RuncSandbox(Func<Options, OciRuntime> runtimeFor) : Sandbox
{
    public override async Task<Container> CreateContainerAsync(ContainerSpec spec, CancellationToken cancellationToken)
    {
        TypeUrl.TryUnpack<Options>(spec.Options, out var options);
        var runtime = runtimeFor(options ?? new Options());
        return new RuncContainer(runtime, spec, await runtime.CreateAsync(spec, cancellationToken));
    }
}
