using Kuasar.Sandbox;

namespace RuncSandboxer;

internal sealed class RuncContainer(OciRuntime runtime, ContainerSpec spec, HostProcess init, Cgroup? cgroup) : Container
{
    public override int ProcessId => init.ProcessId;

    public override Task<ExitStatus> Exited => init.Exited;

    public override Cgroup? Cgroup => cgroup;

    public override bool OutlivesInit => !spec.Oci.HasOwnPidNamespace;

    public override Task StartAsync(CancellationToken cancellationToken) => runtime.StartAsync(spec, cancellationToken);

    public override async Task<bool> IsStartedAsync(CancellationToken cancellationToken) => await runtime.GetStatusAsync(spec, cancellationToken) != "created";

    public override async Task<ContainerProcess> StartExecAsync(ExecSpec exec, CancellationToken cancellationToken) =>
        await runtime.ExecAsync(spec, exec, cancellationToken);

    public override Task SignalAsync(int signal, CancellationToken cancellationToken) => init.SignalAsync(signal, cancellationToken);

    public override Task PauseAsync(CancellationToken cancellationToken) => runtime.PauseAsync(spec, cancellationToken);

    public override Task ResumeAsync(CancellationToken cancellationToken) => runtime.ResumeAsync(spec, cancellationToken);

    public override Task UpdateAsync(ReadOnlyMemory<byte> resources, CancellationToken cancellationToken) =>
        runtime.UpdateAsync(spec, resources, cancellationToken);

    public override async Task DeleteAsync(CancellationToken cancellationToken)
    {
        await runtime.DeleteAsync(spec, cancellationToken);
        init.Dispose();
    }
}
