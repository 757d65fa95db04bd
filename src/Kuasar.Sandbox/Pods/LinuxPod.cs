using Google.Protobuf.WellKnownTypes;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Cgroups;
using Kuasar.Sandbox.Pods;

namespace Kuasar.Sandbox;

/// <summary>
/// What the Linux containers of a pod share on this host, without a pause container: ipc and uts namespaces, /dev/shm, the files below
/// /etc, sysctls, a cgroup. It is no process, but for a pod whose containers share their processes: that has an init, which reaps.
/// </summary>
/// <remarks>
/// Whatever it mounts, starts or makes is recorded in the <see cref="SandboxSpec"/> before, so that it goes even if this process dies.
/// For a <see cref="Sandbox"/> to own: start it in <see cref="Sandbox.StartAsync"/>, put it into each container's spec before the OCI
/// runtime is asked for the container, dispose it when no container is left. The network namespace is containerd's.
/// </remarks>
public sealed class LinuxPod : IAsyncDisposable
{
    // What containerd gives a pod whose pause container it makes itself, in its own defaults (enable_unprivileged_ports and _icmp).
    private static readonly Dictionary<string, string> NetworkDefaults = new()
    {
        ["net.ipv4.ip_unprivileged_port_start"] = "0",
        ["net.ipv4.ping_group_range"] = "0 2147483647",
    };

    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(10);

    private readonly SandboxSpec _sandbox;
    private readonly PodSandboxConfig _pod;
    private readonly HostProcesses _processes;
    private readonly PodModes _modes;
    private readonly PodSysctls _sysctls;
    private readonly PodCgroup _cgroup;
    private readonly UndoList _undo = new();
    private HostProcess? _init;
    private PodSpec? _spec;

    /// <summary>Looks at what the pod asks for; nothing is made before <see cref="StartAsync"/>.</summary>
    /// <exception cref="SandboxException">InvalidArgument: the pod's configuration is missing or wrong. Unimplemented: user namespaces.</exception>
    public LinuxPod(SandboxSpec sandbox, SandboxerServices services)
    {
        ArgumentNullException.ThrowIfNull(sandbox);
        ArgumentNullException.ThrowIfNull(services);
        _sandbox = sandbox;
        _processes = services.Processes;
        _pod = sandbox.Pod ?? throw new SandboxException(SandboxError.InvalidArgument, "the sandbox has no pod configuration");
        _modes = PodModes.Of(_pod);
        if (!_modes.HostNetwork && string.IsNullOrEmpty(sandbox.NetworkNamespace))
        {
            throw new SandboxException(SandboxError.InvalidArgument, "the pod has neither a network namespace nor the host's network");
        }
        var sysctls = _modes.HostNetwork ? [] : new Dictionary<string, string>(NetworkDefaults);
        foreach (var (name, value) in _pod.Linux?.Sysctls ?? [])
        {
            sysctls[name] = value;
        }
        _sysctls = new PodSysctls(sysctls, _modes);
        _cgroup = PodCgroup.Of(sandbox, HasInit, CgroupMount.OfThisHost);
    }

    /// <summary>The init's pid where the pod's containers share their processes, else 0: for <see cref="Sandbox.ProcessId"/>.</summary>
    public int ProcessId => _init?.ProcessId ?? 0;

    /// <summary>Completes when the pod's init has ended, never where there is none: for <see cref="Sandbox.Exited"/>.</summary>
    public Task<ExitStatus> Exited => _init?.Exited ?? new TaskCompletionSource<ExitStatus>().Task;

    private bool HasInit => _modes.Pid == NamespaceMode.Pod;

    /// <summary>Makes it all. On failure nothing is left.</summary>
    /// <exception cref="SandboxException">What was refused, and why.</exception>
    /// <exception cref="IOException">A mount or a file could not be made.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            await NamespaceThread.RunAsync(Make).ConfigureAwait(false);
        }
        catch
        {
            await Processes.CleanUp.TryAsync(_undo.UndoAsync).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// Takes over what an earlier life of the sandboxer has made, in place of <see cref="StartAsync"/>: for
    /// <see cref="Sandboxer.RecoverSandboxAsync"/>. Nothing is made, and <see cref="DisposeAsync"/> undoes it as if it had been made here.
    /// </summary>
    /// <exception cref="SandboxException">FailedPrecondition: the pod has an init, and nothing is recorded of it.</exception>
    public void Recover()
    {
        _undo.Add(_cgroup.Remove);
        foreach (var path in ((string[])["uts", "ipc", "shm"]).Select(name => Path.Combine(_sandbox.WorkDirectory, name)).Where(Path.Exists))
        {
            _undo.Add(() => Libc.UnmountAll(path));
        }
        if (HasInit)
        {
            _init = _processes.Recover(_sandbox) is [{ } init, ..]
                ? init
                : throw new SandboxException(SandboxError.FailedPrecondition, $"nothing is recorded of the init of pod {_sandbox.Id}");
            _undo.Add(EndInitAsync);
            _undo.Add(() => Libc.UnmountAll(Path.Combine(_sandbox.WorkDirectory, "pid")));
        }
        _spec = NewSpec();
    }

    /// <summary>Puts the pod into a container's spec, and that into its bundle's config.json. Before the OCI runtime is asked for the container.</summary>
    /// <exception cref="SandboxException">FailedPrecondition: the spec names a namespace that the pod does not have.</exception>
    public void Apply(ContainerSpec container)
    {
        ArgumentNullException.ThrowIfNull(container);
        (_spec ?? throw new InvalidOperationException("The pod has not been started.")).Apply(container.Oci.Json, container.Id);
        container.Oci.Save(container.Bundle);
    }

    /// <summary>containerd's cgroup v1 or v2 metrics of all its containers together, under their bare type URL.</summary>
    /// <exception cref="SandboxException">FailedPrecondition: the pod has no cgroup of its own.</exception>
    public Any GetMetrics() => _cgroup.GetMetrics();

    /// <summary>Changes what all its containers together may take: CPU shares, quota and period, memory.</summary>
    /// <exception cref="SandboxException">What the kernel refused; what came before it is set.</exception>
    public void Update(SandboxResources resources)
    {
        ArgumentNullException.ThrowIfNull(resources);
        _cgroup.Update(resources);
    }

    /// <summary>
    /// The first process of a new pid namespace, for containers that share their processes: it reaps, and reaches nothing of what is outside. Made
    /// here for a pod that is none of ours, as in a guest; ending it ends whatever is in the namespace.
    /// </summary>
    /// <returns>The caller's to dispose; it goes on without.</returns>
    /// <exception cref="SandboxException">It could not be started. Unimplemented: not on this architecture.</exception>
    public static async Task<HostProcess> StartInitAsync(SandboxerServices services)
    {
        ArgumentNullException.ThrowIfNull(services);
        HostProcess? init = null;
        try
        {
            await NamespaceThread.RunAsync(() => PodInit.Start(services.Processes, started => init = started)).ConfigureAwait(false);
            return init!;
        }
        catch
        {
            init?.Signal(Libc.SIGKILL);
            init?.Dispose();
            throw;
        }
    }

    /// <summary>Undoes it all, its init included. No container may be left. May be repeated: what failed is tried again.</summary>
    /// <exception cref="IOException">Something could not be undone; the rest is.</exception>
    public async ValueTask DisposeAsync() => await Task.Run(_undo.UndoAsync).ConfigureAwait(false);

    private void Make()
    {
        var hostName = PodFiles.HostNameOf(_pod);
        PodFiles.Write(_sandbox.WorkDirectory, _pod, hostName);
        foreach (var folder in _cgroup.Made)
        {
            _sandbox.RecordCgroup(folder);
        }
        _undo.Add(_cgroup.Remove);
        _cgroup.Make();
        MakeNamespaces(hostName);
        if (!_modes.HostIpc)
        {
            var shm = MountPoint("shm", isFolder: true);
            Libc.Mount("shm", shm, "tmpfs", Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC, "mode=1777,size=67108864");
        }
        if (HasInit)
        {
            MakeInit();
        }
        _spec = NewSpec();
    }

    private PodSpec NewSpec() => new()
    {
        Modes = _modes,
        ProcessId = ProcessId,
        Folder = _sandbox.WorkDirectory,
        NetworkNamespace = _sandbox.NetworkNamespace,
        Cgroup = _cgroup,
        CheckTarget = CheckTarget,
    };

    /// <summary>Moves this thread, which ends afterwards, into the pod.</summary>
    private void MakeNamespaces(string hostName)
    {
        var own = (_modes.HostIpc ? 0 : Libc.CLONE_NEWIPC) | (_modes.HostUts ? 0 : Libc.CLONE_NEWUTS);
        if (own != 0)
        {
            Libc.Unshare(own);
        }
        if (!_modes.HostUts)
        {
            Libc.SetHostName(hostName);
            Pin("uts", Libc.ThreadId);
        }
        if (!_modes.HostIpc)
        {
            Pin("ipc", Libc.ThreadId);
        }
        if (!_modes.HostNetwork)
        {
            Libc.EnterNamespace(_sandbox.NetworkNamespace!, Libc.CLONE_NEWNET);
        }
        _sysctls.Apply();
    }

    private void MakeInit()
    {
        _undo.Add(EndInitAsync);
        PodInit.Start(_processes, init =>
        {
            _init = init;
            _sandbox.RecordProcess(init.ProcessId);
            _cgroup.Add(init.ProcessId, _sandbox.Id);
        });
        Pin("pid", ProcessId);
    }

    private async Task EndInitAsync()
    {
        if (_init is { } init)
        {
            init.Signal(Libc.SIGKILL);
            await init.Exited.WaitAsync(EndLimit).ConfigureAwait(false);
            init.Dispose();
        }
    }

    /// <summary>A namespace lives as long as a mount holds it. A path to one that is gone is a plain file, which no runtime takes.</summary>
    private void Pin(string name, int processId) =>
        Libc.Mount(FormattableString.Invariant($"/proc/{processId}/ns/{name}"), MountPoint(name, isFolder: false), null, Libc.MS_BIND, null);

    private string MountPoint(string name, bool isFolder)
    {
        var path = Path.Combine(_sandbox.WorkDirectory, name);
        if (isFolder)
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            File.WriteAllBytes(path, []);
        }
        _sandbox.RecordMount(path);
        _undo.Add(() => Libc.UnmountAll(path));
        return path;
    }

    private void CheckTarget(int processId)
    {
        var name = FormattableString.Invariant($"/proc/{processId}/ns/pid");
        var theirs = new FileInfo(name).LinkTarget;
        if (theirs is null || !_cgroup.Holds(processId) || (_modes.Pid != NamespaceMode.Node && theirs == new FileInfo("/proc/self/ns/pid").LinkTarget))
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"{name} is no pid namespace of this pod's containers");
        }
    }
}
