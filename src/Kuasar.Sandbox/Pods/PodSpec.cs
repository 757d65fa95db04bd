using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.Sandbox.Pods;

/// <summary>
/// Puts into a container's OCI spec what is the pod's. containerd's CRI writes the spec as if there were a pause container: namespaces are
/// those of the pid that it was told, and of the pod's files (<see cref="PodFiles"/>) it knows nothing.
/// </summary>
internal sealed class PodSpec
{
    internal required PodModes Modes { get; init; }

    /// <summary>What containerd was told, so what it writes: 0 gives /proc/0/ns/....</summary>
    internal required int ProcessId { get; init; }

    /// <summary>Where the pod's files are, and the mount points of its namespaces and its /dev/shm.</summary>
    internal required string Folder { get; init; }

    /// <summary>Null for the host's.</summary>
    internal required string? NetworkNamespace { get; init; }

    internal required PodCgroup Cgroup { get; init; }

    /// <summary>Throws where the process is no container of the pod, whose pid namespace another one could be in.</summary>
    internal required Action<int> CheckTarget { get; init; }

    internal void Apply(JsonObject spec, string containerId)
    {
        ApplyNamespaces(spec);
        // A namespace that is joined has its name; one of the host must not be given another. runc refuses both.
        spec.Remove("hostname");
        spec.Remove("domainname");
        PodFiles.Apply(spec, Folder, Modes.HostIpc ? "/dev/shm" : Path.Combine(Folder, "shm"));
        if (Cgroup.PathFor(containerId, OciSpec.Text(OciSpec.Member(spec["linux"], "cgroupsPath"))) is { } path)
        {
            ((JsonObject)spec["linux"]!)["cgroupsPath"] = path;
        }
    }

    private void ApplyNamespaces(JsonObject spec)
    {
        if (OciSpec.Member(spec["linux"], "namespaces") is not JsonArray namespaces)
        {
            throw new SandboxException(SandboxError.InvalidArgument, "a container of a pod must have linux.namespaces in its spec");
        }
        foreach (var entry in namespaces.ToArray())
        {
            var type = OciSpec.Text(OciSpec.Member(entry, "type")) ?? "";
            var path = OciSpec.Text(OciSpec.Member(entry, "path")) ?? "";
            if (!path.StartsWith("/proc/", StringComparison.Ordinal))
            {
                // One of its own, or one that somebody else has made for it.
                continue;
            }
            if (PathFor(type, path) is { } own)
            {
                entry!["path"] = own;
            }
            else
            {
                namespaces.Remove(entry);
            }
        }
    }

    /// <summary>What a path of containerd's stands for: another path, or null for the host's. There is no way to the host's by a path that means nothing.</summary>
    private string? PathFor(string type, string path)
    {
        var ofPod = path == string.Create(CultureInfo.InvariantCulture, $"/proc/{ProcessId}/ns/{FileOf(type)}");
        return (type, ofPod) switch
        {
            ("network", true) => Modes.HostNetwork ? null : NetworkNamespace,
            ("ipc", true) => Modes.HostIpc ? null : Path.Combine(Folder, "ipc"),
            ("uts", true) => Modes.HostUts ? null : Path.Combine(Folder, "uts"),
            ("pid", true) when Modes.Pid == NamespaceMode.Node => null,
            ("pid", true) when ProcessId != 0 => Path.Combine(Folder, "pid"),
            ("pid", false) when ProcessOf(path) is { } target => Target(target, path),
            _ => throw new SandboxException(SandboxError.FailedPrecondition, $"the pod has no {type} namespace {path}"),
        };
    }

    private string Target(int processId, string path)
    {
        CheckTarget(processId);
        return path;
    }

    private static string FileOf(string type) => type == "network" ? "net" : type;

    /// <summary>N of /proc/N/ns/pid.</summary>
    private static int? ProcessOf(string path)
    {
        var parts = path.Split('/');
        return parts is ["", "proc", var number, "ns", "pid"] && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var pid) && pid > 0
            ? pid : null;
    }
}
