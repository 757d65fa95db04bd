using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.Sandbox;

/// <summary>
/// The one class that a sandboxer's author must write first: it makes sandboxes. One instance serves every pod of the node, so its
/// methods run concurrently for different sandboxes.
/// </summary>
public abstract class Sandboxer
{
    /// <summary>
    /// Makes the sandbox of a pod, or of a container that stands alone. It owns nothing until this returns; when it fails, what was recorded
    /// with the spec is removed. The token is cancelled when somebody removes the sandbox meanwhile.
    /// </summary>
    public abstract Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken);

    /// <summary>
    /// Takes over a sandbox that an earlier life of the sandboxer has made and, but for one that was only created, started: everything that
    /// <see cref="Sandbox"/> says of one that runs holds for what is returned. It makes nothing anew; what it needs to know beside the spec,
    /// it has saved by <see cref="SandboxSpec.Save"/>, and its processes are at <see cref="HostProcesses.Recover(SandboxSpec)"/>. When it fails, nothing of the sandbox is touched, and containerd is told that there is
    /// none; it then asks for the removal of what is recorded. By default, sandboxes are not taken over.
    /// </summary>
    public virtual Task<Sandbox> RecoverSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken) =>
        throw new SandboxException(SandboxError.Unimplemented, "this sandboxer does not take over sandboxes of an earlier life");

    /// <summary>What runs here: what containerd's <c>-info</c> asks for.</summary>
    public virtual Task<RuntimeInfo> GetInfoAsync(CancellationToken cancellationToken) => Task.FromResult(new RuntimeInfo());

    /// <summary>Given to the sandboxer before the first call.</summary>
    protected internal SandboxerServices Services
    {
        get => field ?? throw new InvalidOperationException("The sandboxer has not been given to a host yet.");
        internal set;
    }
}
