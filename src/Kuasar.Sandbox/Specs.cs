using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tasks;

namespace Kuasar.Sandbox;

/// <summary>A sandbox to be made. Ids have passed containerd's identifier rule.</summary>
public sealed class SandboxSpec
{
    internal SandboxSpec()
    {
    }

    /// <summary>containerd's namespace.</summary>
    public required string Namespace { get; init; }

    /// <summary>The pod's sandbox id, or the id of the container that stands alone.</summary>
    public required string Id { get; init; }

    /// <summary>Short name of the containerd that asks: ids are unique only within (this, namespace).</summary>
    public required string Instance { get; init; }

    /// <summary>
    /// A folder of the sandbox's own, mode 0700, below the run directory; it goes after <see cref="Sandbox.DisposeAsync"/>, and before it
    /// whatever is still mounted in it.
    /// </summary>
    public required string WorkDirectory { get; init; }

    /// <summary>
    /// Another, short path to <see cref="WorkDirectory"/>: a unix socket's path has at most 107 bytes, which the sandbox's id alone may fill. It
    /// is 19 bytes longer than the run directory's, and always the same; it is made when it is first asked for, and goes with the folder.
    /// </summary>
    /// <exception cref="IOException">It could not be made.</exception>
    public string GetShortDirectory() => Folder?.Link() ?? WorkDirectory;

    /// <summary>
    /// The pod as the CRI describes it, on the routes of the Sandbox API; null for a sandbox that containerd does not know of (podsandbox
    /// and <c>ctr</c>), or when a client other than the CRI made it.
    /// </summary>
    public PodSandboxConfig? Pod { get; init; }

    /// <summary>The pod's network namespace, a path below /run/netns or the like, made and removed by containerd; null for the host's network.</summary>
    public string? NetworkNamespace { get; init; }

    /// <summary>
    /// The sandbox's options as its client has them: the CRI's are what <see cref="Pod"/> shows. Null where there are none. Unknown types
    /// are to be ignored.
    /// </summary>
    public Any? Options { get; init; }

    /// <summary>
    /// Of a sandbox that is taken over from an earlier life of the sandboxer: whether <see cref="Sandbox.StartAsync"/> had been done with.
    /// </summary>
    public bool WasStarted { get; internal init; }

    /// <summary>What the record is kept in; null for a spec that no host has made.</summary>
    internal SandboxFolder? Folder { get; init; }

    /// <summary>What <see cref="Save"/> saved last, in this life of the sandboxer or an earlier one; null when it has not.</summary>
    public Any? Saved => Folder?.Saved;

    /// <summary>
    /// Writes down what the author needs to take the sandbox over in a later life of the sandboxer, in place of what was saved before.
    /// </summary>
    /// <exception cref="IOException">It could not be written.</exception>
    public void Save(IMessage data)
    {
        var saved = TypeUrl.Pack(data);
        Folder?.Keep(record => record.Saved = saved);
    }

    /// <summary>
    /// Writes down a mount point of the sandbox's own, before it is mounted: should the sandboxer die or the sandbox fail, it is unmounted.
    /// What is written down is never taken back; a mount that is gone is no error. Safe for concurrent use, as the other two.
    /// </summary>
    /// <param name="mountPoint">Absolute; a folder or a file.</param>
    /// <exception cref="IOException">It could not be written; then do not mount.</exception>
    public void RecordMount(string mountPoint)
    {
        RequireAbsolute(mountPoint);
        Folder?.Add(record => record.Mounts, mountPoint);
    }

    /// <summary>Writes down a process of the sandbox's own, as soon as there is one: should the sandboxer die or the sandbox fail, it is killed.</summary>
    /// <exception cref="IOException">It could not be written; then end the process.</exception>
    public void RecordProcess(int processId)
    {
        if (Folder is not null && Linux.ProcessIdentity.Of(processId) is { } process)
        {
            Folder.Add(record => record.Processes, process);
        }
    }

    /// <summary>
    /// Writes down a cgroup of the sandbox's own, before it is made: should the sandboxer die or the sandbox fail, everything in it and
    /// below it is killed, and it is removed with what is below it.
    /// </summary>
    /// <param name="folder">Absolute, in the cgroup file system.</param>
    /// <exception cref="IOException">It could not be written; then do not make it.</exception>
    public void RecordCgroup(string folder)
    {
        RequireAbsolute(folder);
        Folder?.Add(record => record.Cgroups, folder);
    }

    private static void RequireAbsolute(string path)
    {
        if (!Path.IsPathRooted(path))
        {
            throw new ArgumentException($"not an absolute path: \"{path}\"");
        }
    }
}

/// <summary>A container to be made. Ids have passed the identifier rule; the rootfs is mounted; stdio is open.</summary>
public sealed class ContainerSpec
{
    internal ContainerSpec()
    {
    }

    /// <summary>The container's id.</summary>
    public required string Id { get; init; }

    /// <summary>containerd's bundle folder, absolute: config.json and rootfs are in it.</summary>
    public required string Bundle { get; init; }

    /// <summary>A folder of the container's own, mode 0700, below the run directory; it goes with the container.</summary>
    public required string WorkDirectory { get; init; }

    /// <summary>The OCI spec that config.json holds.</summary>
    public required OciSpec Oci { get; init; }

    /// <summary>Its standard streams.</summary>
    public required ProcessStdio Stdio { get; init; }

    /// <summary>What the record is kept in; null for a spec that no host has made.</summary>
    internal TaskResources? Resources { get; init; }

    /// <summary>Told when a process of the container was killed for want of memory.</summary>
    internal Action? OnOutOfMemory { get; init; }

    /// <summary>
    /// Tells containerd that the kernel has killed for want of memory; before the exit that it caused. Only where the library cannot see it
    /// by a <see cref="Container.Cgroup"/>.
    /// </summary>
    public void ReportOutOfMemory() => OnOutOfMemory?.Invoke();

    /// <summary>What <see cref="Save"/> saved last, in this life of the sandboxer or an earlier one; null when it has not.</summary>
    public Any? Saved => Resources?.Saved;

    /// <summary>
    /// Writes down what the author needs to take the container over in a later life of the sandboxer, in place of what was saved before.
    /// </summary>
    /// <exception cref="IOException">It could not be written.</exception>
    public void Save(IMessage data)
    {
        var saved = TypeUrl.Pack(data);
        Resources?.Note(record => record.Saved = saved);
    }

    /// <summary>The runtime's options as containerd has them, null where there are none. Unknown types are to be ignored.</summary>
    public Any? Options { get; init; }
}

/// <summary>A process to be started in a container that runs.</summary>
public sealed class ExecSpec
{
    internal ExecSpec()
    {
    }

    /// <summary>Unique within the container.</summary>
    public required string Id { get; init; }

    /// <summary>An OCI process, JSON in UTF-8, with <c>terminal</c> as the request has it.</summary>
    public required ReadOnlyMemory<byte> Process { get; init; }

    /// <summary>The container's folder (see <see cref="ContainerSpec.WorkDirectory"/>).</summary>
    public required string WorkDirectory { get; init; }

    /// <summary>Its standard streams.</summary>
    public required ProcessStdio Stdio { get; init; }
}
