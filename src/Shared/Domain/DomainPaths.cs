using System.Globalization;
using System.Text;
using Kuasar.Linux;

namespace Kuasar.Domain;

/// <summary>
/// Where a domain keeps its things. All below one folder, known to the shim and to the sandboxer:
/// <code>
/// RUN/control.sock                    what shims talk to
/// RUN/keeper.sock                     what an operator talks to, where a keeper runs; keeper.lock is its
/// RUN/s/HASH.sock                     what one containerd talks to, for one of its namespaces; HASH.pb says whose it is
/// RUN/tasks/INSTANCE/NAMESPACE/ID/    one task: task.pb and the runtime's files
/// RUN/sandboxes/INSTANCE/NAMESPACE/ID/ one sandbox: sandbox.pb and its author's files
/// RUN/l/HASH                          a link to a sandbox's folder, where its author wants a short path
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

    /// <summary>What an operator talks to, where a keeper runs.</summary>
    internal string KeeperSocket => Path.Combine(Run, "keeper.sock");

    internal string KeeperLock => Path.Combine(Run, "keeper.lock");

    internal string Sockets => Path.Combine(Run, "s");

    internal string Tasks => Path.Combine(Run, "tasks");

    internal string Sandboxes => Path.Combine(Run, "sandboxes");

    internal string Quarantine => Path.Combine(Run, "quarantine");

    internal string TaskSocket(string containerdAddress, string containerdNamespace) =>
        Path.Combine(Sockets, Hash($"{containerdAddress}\n{containerdNamespace}") + ".sock");

    internal string TaskFolder(string containerdAddress, string containerdNamespace, string id) =>
        Path.Combine(NamespaceFolder(Tasks, containerdAddress, containerdNamespace), Checked(id));

    internal string SandboxFolder(string containerdAddress, string containerdNamespace, string id) =>
        Path.Combine(NamespaceFolder(Sandboxes, containerdAddress, containerdNamespace), Checked(id));

    /// <summary>Where a link to this folder of a sandbox is, if there is one.</summary>
    internal static string LinkTo(string sandboxFolder)
    {
        var (id, parent) = (Path.GetFileName(sandboxFolder), Path.GetDirectoryName(sandboxFolder)!);
        var (name, instance) = (Path.GetFileName(parent), Path.GetDirectoryName(parent)!);
        var run = Path.GetDirectoryName(Path.GetDirectoryName(instance))!;
        return Path.Combine(run, "l", Hash($"{Path.GetFileName(instance)}/{name}/{id}"));
    }

    /// <summary>Of <see cref="Tasks"/> or <see cref="Sandboxes"/>, what one containerd has in one namespace.</summary>
    internal static string NamespaceFolder(string all, string containerdAddress, string containerdNamespace) =>
        Path.Combine(all, InstanceKey(containerdAddress), Checked(containerdNamespace));

    /// <summary>The folders of all ids in <see cref="Tasks"/> or <see cref="Sandboxes"/>.</summary>
    internal static List<string> IdFolders(string all) =>
        !Directory.Exists(all) ? []
        : [.. Directory.EnumerateDirectories(all).SelectMany(Directory.EnumerateDirectories).SelectMany(Directory.EnumerateDirectories)
            .Where(folder => ContainerdId.IsValid(Path.GetFileName(folder)))];

    private static string Checked(string id) => ContainerdId.IsValid(id) ? id : throw new ArgumentException($"not an identifier: \"{id}\"");

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
