using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.Sandbox;

/// <summary>A pod's surroundings: what its containers share. Its containers may be created concurrently.</summary>
/// <remarks>
/// On the routes of the Sandbox API (<c>sandboxer = "shim"</c> or a proxy plugin) the library calls, one at a time and in this order:
/// creation by <see cref="Sandboxer.CreateSandboxAsync"/>, <see cref="StartAsync"/>, any number of containers and updates,
/// <see cref="StopAsync"/> once its containers have ended, <see cref="DisposeAsync"/>. With <c>sandboxer = "podsandbox"</c> containerd never
/// speaks of sandboxes: the library makes one at the first container of a pod, by the CRI annotations of its spec, and one for each
/// container that stands alone; it is started at once and ends with its last container. Measuring, pinging and telling come beside other
/// calls while the sandbox is ready. A call that hangs is left to itself, ten seconds after somebody asks for the sandbox's removal; then,
/// as after a call that failed, what is recorded by <see cref="SandboxSpec.RecordMount"/> and its like is removed.
/// </remarks>
public abstract class Sandbox : IAsyncDisposable
{
    /// <summary>
    /// The pid on this host that containerd is told; its CRI derives the namespace paths of containers from it. 0 where the sandbox is no
    /// process: the paths are then <c>/proc/0/ns/...</c> and <see cref="CreateContainerAsync"/> must put others in their place.
    /// Asked once, after <see cref="StartAsync"/>.
    /// </summary>
    public virtual int ProcessId => 0;

    /// <summary>
    /// Completes when the sandbox ends by itself (its virtual machine or its init has died), with how; the library then ends its containers.
    /// Asked once, after <see cref="StartAsync"/>. By default a sandbox does not end by itself.
    /// </summary>
    public virtual Task<ExitStatus> Exited { get; } = new TaskCompletionSource<ExitStatus>().Task;

    /// <summary>
    /// What its containers run on; containerd builds their specs by it. By default this host. Asked after the creation and after
    /// <see cref="StartAsync"/>.
    /// </summary>
    public virtual Platform Platform => HostPlatform.Current;

    /// <summary>
    /// Gets the sandbox ready for containers. When it fails, the library disposes the sandbox; what it has recorded needs no undoing.
    /// The token is cancelled when somebody stops or removes the sandbox meanwhile, and not when the caller has given up.
    /// </summary>
    public virtual Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Makes a container. On failure nothing of it may be left.</summary>
    public abstract Task<Container> CreateContainerAsync(ContainerSpec spec, CancellationToken cancellationToken);

    /// <summary>
    /// Takes over a container that an earlier life of the sandboxer has made, whether or not its init lives. It makes nothing anew. When it
    /// fails, nothing of the container is touched, and containerd is told that there is none. By default, containers are not taken over.
    /// </summary>
    /// <param name="spec">As it was; its streams are open again as far as they are the library's. config.json is as it was last saved.</param>
    /// <param name="init">
    /// The process of <see cref="ContainerProcess.ProcessId"/>, or how it ended. The container's to dispose. Null where it <see cref="Container.IsRemote"/>.
    /// </param>
    /// <param name="cgroup">What <see cref="Container.Cgroup"/> was.</param>
    /// <param name="cancellationToken">Not cancelled today.</param>
    public virtual Task<Container> RecoverContainerAsync(
        ContainerSpec spec, HostProcess? init, Cgroup? cgroup, CancellationToken cancellationToken) =>
        throw new SandboxException(SandboxError.Unimplemented, "this sandboxer does not take over containers of an earlier life");

    /// <summary>Ends the sandbox; its containers have ended. Called once, again only after it failed, and not when it has ended by itself.</summary>
    /// <param name="timeout">How long it may take to end in peace; zero: no limit was asked for.</param>
    /// <param name="cancellationToken">Ends the wait, not the stop.</param>
    public virtual Task StopAsync(TimeSpan timeout, CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>containerd's cgroup v1 or v2 metrics of the whole pod, under their bare type URL.</summary>
    public virtual Task<Any> GetMetricsAsync(CancellationToken cancellationToken) =>
        throw new SandboxException(SandboxError.Unimplemented, "metrics of sandboxes are not implemented by this sandboxer");

    /// <summary>Changes the pod's limits: the resources of all its containers together, as the CRI has them.</summary>
    public virtual Task UpdateAsync(SandboxResources resources, CancellationToken cancellationToken) =>
        throw new SandboxException(SandboxError.Unimplemented, "update of sandboxes is not implemented by this sandboxer");

    /// <summary>Throws where the sandbox is not well.</summary>
    public virtual Task PingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// More about the sandbox, for <c>crictl inspectp</c> and people; empty by default. A value under the key <c>info</c> must be a JSON object.
    /// </summary>
    public virtual IReadOnlyDictionary<string, string> GetInfo() => System.Collections.ObjectModel.ReadOnlyDictionary<string, string>.Empty;

    /// <summary>
    /// Frees what the sandbox holds. Called once, when no container is left. What it has recorded and leaves, the library removes afterwards.
    /// </summary>
    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }
}
