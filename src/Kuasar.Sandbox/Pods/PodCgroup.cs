using System.Globalization;
using System.Text;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Linux;
using Kuasar.Sandbox.Cgroups;

namespace Kuasar.Sandbox.Pods;

/// <summary>
/// The cgroup that a pod's containers are in. The kubelet makes one for each pod, sets its limits and removes it; for whoever does not,
/// there is one of our own, <c>/NAMESPACE/SANDBOX</c>, which goes with the pod.
/// </summary>
internal sealed partial class PodCgroup
{
    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(2);

    private readonly Cgroup? _cgroup;
    private readonly string[] _made;

    private PodCgroup(string? path, Cgroup? cgroup, IEnumerable<string> made)
    {
        Path = path;
        _cgroup = cgroup;
        _made = [.. made];
    }

    /// <summary>As in an OCI spec's cgroupsPath; null when the pod's parent is no absolute path, so not ours to find.</summary>
    internal string? Path { get; }

    /// <summary>What is made for the pod, and removed with it: folders in which every process is the pod's.</summary>
    internal IReadOnlyList<string> Made => _made;

    /// <summary>The folders of the pod itself.</summary>
    internal IReadOnlyList<string> Folders => _cgroup?.Folders ?? [];

    /// <summary>Nothing is made yet.</summary>
    /// <param name="spec">Whose pod is not null.</param>
    /// <param name="withInit">Whether a process of ours is to be in it.</param>
    /// <param name="mounts">Of the hierarchies.</param>
    /// <param name="root">A folder that plays the file system's root.</param>
    internal static PodCgroup Of(SandboxSpec spec, bool withInit, IReadOnlyList<CgroupMount> mounts, string root = "")
    {
        var parent = spec.Pod?.Linux?.CgroupParent ?? "";
        if (parent.Length == 0)
        {
            var own = $"/{spec.Namespace}/{spec.Id}";
            var ownCgroup = Cgroup.At(own, mounts, root);
            return new PodCgroup(own, ownCgroup, ownCgroup?.Folders ?? []);
        }
        var path = parent.EndsWith(".slice", StringComparison.Ordinal) ? PathOfSlice(parent) : parent.TrimEnd('/');
        if (path.Split('/').Any(part => part is "." or ".."))
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"the pod's cgroup parent is no plain path: \"{parent}\"");
        }
        if (!path.StartsWith('/'))
        {
            return new PodCgroup(null, null, []);
        }
        var cgroup = Cgroup.At(path, mounts, root);
        // In a cgroup of v2 that has others below it no process may be, so init has one of its own, as a pause container would.
        return new PodCgroup(path, cgroup, withInit ? (cgroup?.Folders ?? []).Select(folder => $"{folder}/{spec.Id}") : []);
    }

    /// <summary>Where a container belongs: below the pod. A path for systemd (<c>slice:prefix:name</c>) names the parent itself.</summary>
    internal string? PathFor(string containerId, string? cgroupsPath) =>
        Path is null || (cgroupsPath is not null && (cgroupsPath.StartsWith(Path + "/", StringComparison.Ordinal) || cgroupsPath.Split(':').Length == 3))
            ? cgroupsPath
            : $"{Path}/{containerId}";

    internal void Make()
    {
        foreach (var folder in _made)
        {
            Libc.CreateFolders(folder, 0x1ED); // 0755
            if (_cgroup!.IsV2)
            {
                EnableControllers(folder);
            }
        }
    }

    /// <summary>Puts the pod's init in. A v1 cpuset takes no process before it has CPUs, and init needs none of its own.</summary>
    internal void Add(int processId, string sandboxId)
    {
        foreach (var folder in Folders)
        {
            var own = $"{folder}/{sandboxId}";
            if (folder.Contains("/cpuset/", StringComparison.Ordinal) && !_cgroup!.IsV2)
            {
                continue;
            }
            Libc.CreateFolders(own, 0x1ED);
            Write(own, "cgroup.procs", processId.ToString(CultureInfo.InvariantCulture));
        }
    }

    internal bool Holds(int processId) => _cgroup is null || _cgroup.GetProcessIds().Contains(processId);

    /// <summary>Bare in containerd's type for the version of cgroups.</summary>
    internal Any GetMetrics() =>
        (_cgroup ?? throw new SandboxException(SandboxError.FailedPrecondition, "the pod has no cgroup of its own")).GetMetrics();

    /// <summary>Ends what runs in the folders that were made, and removes them.</summary>
    /// <exception cref="IOException">Something lives in one of them still.</exception>
    internal void Remove()
    {
        var deadline = Deadline.After(EndLimit);
        foreach (var folder in _made)
        {
            CgroupProcesses.End(folder, deadline);
            CgroupProcesses.Remove(folder, deadline);
        }
    }

    /// <summary>Every controller that each cgroup above has for those below it: without, the pod's own files are missing.</summary>
    private static void EnableControllers(string folder)
    {
        var above = new Stack<string>();
        for (var at = System.IO.Path.GetDirectoryName(folder); at is not null && File.Exists($"{at}/cgroup.controllers"); at = System.IO.Path.GetDirectoryName(at))
        {
            above.Push(at);
        }
        foreach (var at in above)
        {
            foreach (var controller in File.ReadAllText($"{at}/cgroup.controllers").Split(default(char[]), StringSplitOptions.RemoveEmptyEntries))
            {
                try
                {
                    Write(at, "cgroup.subtree_control", "+" + controller);
                }
                catch (LinuxException)
                {
                    // One that the host keeps to itself is not counted for the pod.
                }
            }
        }
    }

    /// <summary>a-b.slice of systemd is /a.slice/a-b.slice.</summary>
    private static string PathOfSlice(string parent)
    {
        var parts = System.IO.Path.GetFileNameWithoutExtension(parent).Split('-');
        var path = new StringBuilder();
        for (var i = 1; i <= parts.Length; i++)
        {
            path.Append('/').AppendJoin('-', parts[..i]).Append(".slice");
        }
        return path.ToString();
    }

    private static void Write(string folder, string file, string value)
    {
        var path = $"{folder}/{file}";
        using var handle = Libc.Open(path, Libc.O_WRONLY);
        Libc.WriteAll(handle, Encoding.ASCII.GetBytes(value), path);
    }
}
