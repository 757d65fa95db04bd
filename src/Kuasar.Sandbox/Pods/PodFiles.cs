using System.Text;
using System.Text.Json.Nodes;
using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.Sandbox;

/// <summary>
/// What of a pod's files its containers share: /etc/hostname, /etc/hosts and /etc/resolv.conf, as containerd writes them for a pause container, and
/// /dev/shm. Without one, containerd's CRI leaves them to who serves the sandbox. <see cref="LinuxPod"/> has them; for pods of other kinds.
/// </summary>
/// <param name="sandbox">The files are in its work directory, with which they go.</param>
public sealed class PodFiles(SandboxSpec sandbox)
{
    private const string HostName = "hostname", Hosts = "hosts", Resolv = "resolv.conf", Shm = "/dev/shm";

    internal static IReadOnlyList<string> Names { get; } = [HostName, Hosts, Resolv];

    /// <summary>Writes the files, as the pod's configuration says; what it does not say is the host's.</summary>
    /// <exception cref="IOException">One cannot be written, or the host's not be read.</exception>
    public void Write() => Write(sandbox.WorkDirectory, sandbox.Pod ?? new PodSandboxConfig(), HostNameOf(sandbox.Pod));

    /// <summary>
    /// Mounts them into a container's spec, but for those that it has mounts of its own at. To be saved by the caller.
    /// </summary>
    /// <param name="spec">Of a container of this pod.</param>
    /// <param name="sharedMemory">The folder that is to be the containers' /dev/shm; one that a spec has by default gives way.</param>
    public void Apply(OciSpec spec, string sharedMemory)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentException.ThrowIfNullOrEmpty(sharedMemory);
        Apply(spec.Json, sandbox.WorkDirectory, sharedMemory);
    }

    internal static string HostNameOf(PodSandboxConfig? pod) => pod?.Hostname is { Length: > 0 } name ? name : Environment.MachineName;

    internal static void Write(string folder, PodSandboxConfig pod, string hostName, string hostEtc = "/etc")
    {
        Write(HostName, Encoding.UTF8.GetBytes(hostName + "\n"));
        Write(Hosts, OfHost(Hosts));
        var resolv = ResolvConf(pod.DnsConfig);
        Write(Resolv, resolv.Length > 0 ? Encoding.UTF8.GetBytes(resolv) : OfHost(Resolv));

        void Write(string name, byte[] content)
        {
            var path = Path.Combine(folder, name);
            File.WriteAllBytes(path, content);
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        }

        byte[] OfHost(string name)
        {
            var path = Path.Combine(hostEtc, name);
            return File.Exists(path) ? File.ReadAllBytes(path) : [];
        }
    }

    /// <summary>Empty when there is nothing to say; then a pod has a copy of the host's.</summary>
    internal static string ResolvConf(DNSConfig? dns)
    {
        var text = new StringBuilder();
        if (dns?.Searches.Count > 0)
        {
            text.Append("search ").AppendJoin(' ', dns.Searches).Append('\n');
        }
        foreach (var server in dns?.Servers ?? [])
        {
            text.Append("nameserver ").Append(server).Append('\n');
        }
        if (dns?.Options.Count > 0)
        {
            text.Append("options ").AppendJoin(' ', dns.Options).Append('\n');
        }
        return text.ToString();
    }

    internal static void Apply(JsonObject spec, string folder, string sharedMemory)
    {
        if (spec["mounts"] is not JsonArray mounts)
        {
            spec["mounts"] = mounts = [];
        }
        var access = OciSpec.Member(spec["root"], "readonly") is JsonValue value && value.TryGetValue<bool>(out var isReadOnly) && isReadOnly ? "ro" : "rw";
        foreach (var name in Names)
        {
            var mount = Find(mounts, "/etc/" + name);
            if (mount is null || IsOfPauseContainer(mount, folder, name))
            {
                mounts.Remove(mount);
                Insert(mounts, "/etc/" + name, Path.Combine(folder, name), access);
            }
        }
        // A private one is what a spec has by default; anything else has been asked for.
        var shm = Find(mounts, Shm);
        if (shm is null || IsOfPauseContainer(shm, folder, "shm") || (OciSpec.Text(OciSpec.Member(shm, "type")), OciSpec.Text(OciSpec.Member(shm, "source"))) is ("tmpfs", "shm"))
        {
            mounts.Remove(shm);
            Insert(mounts, Shm, sharedMemory, "rw");
        }
    }

    /// <summary>
    /// containerd 1.7 mounts what it would have made for a pause container, whether it has or not; where there is nothing it makes a
    /// folder, of a file too.
    /// </summary>
    private static bool IsOfPauseContainer(JsonNode mount, string folder, string name) =>
        OciSpec.Text(OciSpec.Member(mount, "source"))?.EndsWith(
            $"/io.containerd.grpc.v1.cri/sandboxes/{Path.GetFileName(folder)}/{name}", StringComparison.Ordinal) ?? false;

    private static JsonNode? Find(JsonArray mounts, string destination) => mounts.FirstOrDefault(mount => DestinationOf(mount) == destination);

    /// <summary>Right after the last mount that it lies in: a volume at /etc must not hide what is below it, nor be hidden.</summary>
    private static void Insert(JsonArray mounts, string destination, string source, string access)
    {
        var at = 0;
        for (var i = 0; i < mounts.Count; i++)
        {
            if (DestinationOf(mounts[i]) is { } other && (other == "/" || destination.StartsWith(other + "/", StringComparison.Ordinal)))
            {
                at = i + 1;
            }
        }
        mounts.Insert(at == 0 ? mounts.Count : at, new JsonObject
        {
            ["destination"] = destination,
            ["type"] = "bind",
            ["source"] = source,
            ["options"] = new JsonArray("rbind", "rprivate", access),
        });
    }

    /// <summary>Absolute and plain.</summary>
    private static string? DestinationOf(JsonNode? mount) =>
        OciSpec.Text(OciSpec.Member(mount, "destination")) is { } text ? Path.TrimEndingDirectorySeparator(Path.GetFullPath(text, "/")) : null;
}
