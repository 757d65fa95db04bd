using Google.Protobuf.WellKnownTypes;

namespace Kuasar.Sandbox;

/// <summary>
/// A container as its sandbox type makes it: created, with its init ready but the user's process not yet running.
/// A method that is not overridden answers Unimplemented, save those that a <see cref="Cgroup"/> lets the library do by itself.
/// </summary>
public abstract class Container : ContainerProcess
{
    /// <summary>
    /// The container's own cgroup on this host, if it has one: from it the library reads statistics, pids and OOM kills, and signals all
    /// processes. Asked once, after creation.
    /// </summary>
    public virtual Cgroup? Cgroup => null;

    /// <summary>
    /// Whether its processes run elsewhere, in a guest. Their pids are then for containerd to see alone; their streams are to be copied, by
    /// <see cref="ProcessStdio.OpenInput"/>, <see cref="ProcessStdio.OpenOutput"/> and <see cref="ProcessStdio.OpenError"/>. Always the same.
    /// </summary>
    public virtual bool IsRemote => false;

    /// <summary>
    /// Whether the end of init leaves other processes of the container alive (a pid namespace that is shared or the host's):
    /// the library then ends them.
    /// </summary>
    public virtual bool OutlivesInit => false;

    /// <summary>Runs the user's process.</summary>
    public abstract Task StartAsync(CancellationToken cancellationToken);

    /// <summary>Starts one more process. It is returned running, or already ended.</summary>
    public virtual Task<ContainerProcess> StartExecAsync(ExecSpec exec, CancellationToken cancellationToken) => throw Unimplemented("exec");

    /// <summary>
    /// Whether the user's process has been run; asked of a container of an earlier life that ended in the middle of <see cref="StartAsync"/>.
    /// By default it is taken for run.
    /// </summary>
    public virtual Task<bool> IsStartedAsync(CancellationToken cancellationToken) => Task.FromResult(true);

    /// <summary>
    /// Takes over an exec of an earlier life, whether or not it lives. By default it is the process itself, which the result owns.
    /// </summary>
    /// <param name="exec">As it was.</param>
    /// <param name="process">Its process, or how that ended; null where the container <see cref="IsRemote"/>.</param>
    /// <param name="cancellationToken">Not cancelled today.</param>
    public virtual Task<ContainerProcess> RecoverExecAsync(ExecSpec exec, HostProcess? process, CancellationToken cancellationToken) =>
        Task.FromResult<ContainerProcess>(process ?? throw Unimplemented("taking over an exec that is not this host's"));

    /// <summary>Sends a signal to every process of the container.</summary>
    public virtual Task SignalAllAsync(int signal, CancellationToken cancellationToken)
    {
        (Cgroup ?? throw Unimplemented("kill of all processes")).Signal(signal);
        return Task.CompletedTask;
    }

    /// <summary>Freezes every process.</summary>
    public virtual Task PauseAsync(CancellationToken cancellationToken) => throw Unimplemented("pause");

    /// <summary>Thaws what <see cref="PauseAsync"/> froze.</summary>
    public virtual Task ResumeAsync(CancellationToken cancellationToken) => throw Unimplemented("resume");

    /// <summary>Changes limits. <paramref name="resources"/> is an OCI LinuxResources, JSON in UTF-8.</summary>
    public virtual Task UpdateAsync(ReadOnlyMemory<byte> resources, CancellationToken cancellationToken) => throw Unimplemented("update");

    /// <summary>containerd's cgroup v1 or v2 metrics under their bare type URL; also asked for a container that has ended.</summary>
    public virtual Task<Any> GetMetricsAsync(CancellationToken cancellationToken) =>
        Task.FromResult((Cgroup ?? throw Unimplemented("metrics")).GetMetrics());

    /// <summary>The pids of the container's processes. Empty is never told to containerd: it would take the task for dead.</summary>
    public virtual IReadOnlyList<int> GetProcessIds() => Cgroup?.GetProcessIds() ?? [];

    private static SandboxException Unimplemented(string what) => new(SandboxError.Unimplemented, $"{what} is not implemented by this sandboxer");
}
