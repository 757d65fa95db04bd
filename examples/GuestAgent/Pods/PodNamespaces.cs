using System.Globalization;
using Kuasar.Linux;
using Kuasar.Sandbox;

namespace GuestAgent.Pods;

/// <summary>
/// The namespaces that the pod's containers share, as files that a spec can name. The guest is the pod, so ipc and uts are the guest's own; where
/// the containers share their processes too, these have a namespace with an init of its own, from which the agent is not to be seen.
/// </summary>
/// <param name="folder">Where they are: where Kuasar's hosts expect them, in a guest.</param>
internal sealed class PodNamespaces(string folder)
{
    internal const string GuestFolder = "/run/sandbox-ns";

    private readonly Lock _lock = new();
    private HostProcess? _init;

    internal string Folder => folder;

    /// <summary>Of a type as specs have it; null when the pod has none of its own.</summary>
    internal string? PathOf(string type) => Path.Combine(folder, type) is var path && File.Exists(path) ? path : null;

    /// <summary>May be repeated.</summary>
    internal async Task MakeAsync(bool sharesProcesses, SandboxerServices services)
    {
        Pin("ipc", "self");
        Pin("uts", "self");
        if (sharesProcesses && PathOf("pid") is null)
        {
            var init = await LinuxPod.StartInitAsync(services);
            lock (_lock)
            {
                _init ??= init;
            }
            Pin("pid", init.ProcessId.ToString(CultureInfo.InvariantCulture));
        }
    }

    private void Pin(string type, string process)
    {
        var path = Path.Combine(folder, type);
        if (File.Exists(path))
        {
            return;
        }
        Libc.CreateFolders(folder, 0x1C0);
        File.WriteAllBytes(path, []);
        Libc.Mount($"/proc/{process}/ns/{type}", path, null, Libc.MS_BIND, null);
    }
}
