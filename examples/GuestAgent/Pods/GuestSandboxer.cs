using Kuasar.Sandbox;

namespace GuestAgent.Pods;

/// <summary>The containers of the one pod that this guest is.</summary>
internal sealed class GuestSandboxer(string runtimePath, PodNamespaces namespaces) : Sandboxer
{
    public override Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken)
    {
        var runtime = new OciRuntime(
            new OciRuntimeOptions { Path = runtimePath, Root = Path.Combine(Services.RunDirectory, "runtime", spec.Namespace) }, Services);
        return Task.FromResult<Sandbox>(new GuestSandbox(runtime, namespaces));
    }
}

internal sealed class GuestSandbox(OciRuntime runtime, PodNamespaces namespaces) : Sandbox
{
    public override async Task<Container> CreateContainerAsync(ContainerSpec spec, CancellationToken cancellationToken)
    {
        if (new GuestSpec(namespaces).Adapt(spec.Oci.Json, spec.Id))
        {
            spec.Oci.Save(spec.Bundle);
        }
        var init = await runtime.CreateAsync(spec, cancellationToken);
        return new RuncSandboxer.RuncContainer(runtime, spec, init, Cgroup.OfProcess(init.ProcessId));
    }
}
