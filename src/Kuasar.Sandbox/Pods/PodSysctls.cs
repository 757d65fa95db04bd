using System.Text;
using Kuasar.Linux;

namespace Kuasar.Sandbox.Pods;

/// <summary>A pod's kernel settings. Only such as belong to one of its own namespaces: any other would be the whole host's.</summary>
internal sealed class PodSysctls
{
    private static readonly HashSet<string> OfIpc = new(StringComparer.Ordinal)
    {
        "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced",
    };

    private readonly List<(string Name, string Path, string Value)> _settings = [];

    /// <exception cref="SandboxException">InvalidArgument: a name is none, or not the pod's to set.</exception>
    internal PodSysctls(IEnumerable<KeyValuePair<string, string>> settings, PodModes modes)
    {
        foreach (var (name, value) in settings)
        {
            var path = PathOf(name);
            Check(name, path, modes);
            _settings.Add((name, "/proc/sys/" + path, value));
        }
    }

    /// <summary>Sets them in the namespaces of the calling thread, which the kernel looks at when the file is opened.</summary>
    internal void Apply()
    {
        foreach (var (name, path, value) in _settings)
        {
            try
            {
                using var file = Libc.Open(path, Libc.O_WRONLY);
                Libc.WriteAll(file, Encoding.UTF8.GetBytes(value), path);
            }
            catch (LinuxException e)
            {
                throw new SandboxException(
                    e.Errno is Libc.ENOENT or Libc.EINVAL ? SandboxError.InvalidArgument : SandboxError.Unknown, $"sysctl {name} = {value}: {e.Message}", e);
            }
        }
    }

    /// <summary>
    /// The file below /proc/sys. As in sysctl.d(5) the first separator says which of the two it is; the other one stands for itself:
    /// <c>net.ipv4.conf.eth0/1.forwarding</c> and <c>net/ipv4/conf/eth0.1/forwarding</c> are the same.
    /// </summary>
    internal static string PathOf(string name)
    {
        var first = name.AsSpan().IndexOfAny('.', '/');
        var parts = first < 0 ? [name]
            : name[first] == '/' ? name.Split('/')
            : [.. name.Split('.').Select(part => part.Replace('/', '.'))];
        return first > 0 && parts.All(IsPlain)
            ? string.Join('/', parts)
            : throw new SandboxException(SandboxError.InvalidArgument, $"no name of a sysctl: \"{name}\"");
    }

    private static bool IsPlain(string part) =>
        part.Length > 0 && part is not ("." or "..") && part.All(c => c is > ' ' and <= '~' and not '/');

    private static void Check(string name, string path, PodModes modes)
    {
        var host = path.StartsWith("net/", StringComparison.Ordinal) ? modes.HostNetwork
            : OfIpc.Contains(path) || path.StartsWith("fs/mqueue/", StringComparison.Ordinal) ? modes.HostIpc
            // Everything else, the host's name too, is not of a namespace that settings may be made in.
            : true;
        if (host)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"sysctl {name} is not the pod's own, it would be set for the whole host");
        }
    }
}
