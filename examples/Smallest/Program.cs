using Kuasar.Sandbox;

await using var host = new SandboxerHost(new Small(), new SandboxerOptions { Name = "small" });
await host.RunAsync();

sealed class Small : Sandboxer
{
    public override Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken)
    {
        // runc knows containers by id alone, and ids are unique only within a containerd and a namespace.
        var root = Path.Combine(Services.RunDirectory, "runtime", spec.Instance, spec.Namespace);
        return Task.FromResult<Sandbox>(new Pod(new OciRuntime(new OciRuntimeOptions { Path = "runc", Root = root }, Services)));
    }
}

sealed class Pod(OciRuntime runc) : Sandbox
{
    public override async Task<Container> CreateContainerAsync(ContainerSpec spec, CancellationToken cancellationToken) =>
        new RuncContainer(runc, spec, await runc.CreateAsync(spec, cancellationToken));
}

sealed class RuncContainer(OciRuntime runc, ContainerSpec spec, HostProcess init) : Container
{
    public override int ProcessId => init.ProcessId;
    public override Task<ExitStatus> Exited => init.Exited;
    public override Task StartAsync(CancellationToken cancellationToken) => runc.StartAsync(spec, cancellationToken);
    public override Task SignalAsync(int signal, CancellationToken cancellationToken) => init.SignalAsync(signal, cancellationToken);
    public override Task DeleteAsync(CancellationToken cancellationToken) => runc.DeleteAsync(spec, cancellationToken);
}
