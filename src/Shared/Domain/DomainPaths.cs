using System.Globalization;
using System.Text;
using Kuasar.Linux;

namespace Kuasar.Domain;

/// <summary>
/// Where a domain keeps its things. All below one folder, known to the shim and to the sandboxer:
/// <code>
/// RUN/control.sock                    what shims talk to
/// RUN/s/HASH.sock                     what one containerd talks to, for one of its namespaces
/// RUN/tasks/INSTANCE/NAMESPACE/ID/    one task: task.pb and the runtime's files
/// RUN/quarantine/                     what could not be read, for a person to look at
/// </code>
/// INSTANCE is short for containerd's gRPC address, so that several containerds can share a domain.
/// </summary>
internal sealed class DomainPaths(string runFolder)
{
    /// <summary>Everything is root's alone: 0600 and 0700.</summary>
    internal const uint FileMode = 0x180, FolderMode = 0x1C0;

    /// <summary>sun_path holds 108 bytes, the last of them 0.</summary>
    internal const int MaxSocketPath = 107;

    internal string Run { get; } = Path.TrimEndingDirectorySeparator(Path.GetFullPath(runFolder));

    internal string ControlSocket => Path.Combine(Run, "control.sock");

    internal string Tasks => Path.Combine(Run, "tasks");

    internal string Quarantine => Path.Combine(Run, "quarantine");

    internal string TaskSocket(string containerdAddress, string containerdNamespace) =>
        Path.Combine(Run, "s", Hash($"{containerdAddress}\n{containerdNamespace}") + ".sock");

    internal string TaskFolder(string containerdAddress, string containerdNamespace, string id)
    {
        if (!ContainerdId.IsValid(containerdNamespace) || !ContainerdId.IsValid(id))
        {
            throw new ArgumentException($"not an identifier: namespace \"{containerdNamespace}\", id \"{id}\"");
        }
        return Path.Combine(Tasks, InstanceKey(containerdAddress), containerdNamespace, id);
    }

    /// <summary>16 hex digits, short enough for a socket path: 64-bit FNV-1a of the address.</summary>
    /// <remarks>Not one of .NET's hashes: those are OpenSSL's, which a shim would have to load and a small host may not have.</remarks>
    internal static string InstanceKey(string containerdAddress) => Hash(containerdAddress);

    private static string Hash(string text)
    {
        var hash = 14695981039346656037UL;
        foreach (var b in Encoding.UTF8.GetBytes(text))
        {
            hash = (hash ^ b) * 1099511628211UL;
        }
        return hash.ToString("x16", CultureInfo.InvariantCulture);
    }
}
