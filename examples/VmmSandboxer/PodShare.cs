using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Kuasar.Sandbox;

namespace VmmSandboxer;

/// <summary>
/// The folder that a pod's guest sees as /run/kuasar/state: a folder for each container, with its config.json, its root, and what else is mounted
/// from the host.
/// </summary>
/// <param name="folder">On the host.</param>
internal sealed partial class PodShare(string folder)
{
    private const string InGuest = "/run/kuasar/state", RootName = "rootfs";

    /// <summary>The guest's, which the pod's containers share; not of the host.</summary>
    internal const string SharedMemory = "/dev/shm";

    internal string Folder => folder;

    internal static string BundleInGuest(string containerId) => $"{InGuest}/{containerId}";

    internal void Make() => Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

    /// <summary>Puts a container there, and its spec as the guest is to have it.</summary>
    /// <exception cref="SandboxException">InvalidArgument: something of the host that cannot be shared.</exception>
    internal void Add(ContainerSpec container, SandboxSpec sandbox)
    {
        var place = Directory.CreateDirectory(Path.Combine(folder, container.Id)).FullName;
        try
        {
            var spec = container.Oci.Json.DeepClone().AsObject();
            Bind(Path.Combine(container.Bundle, RootName), Path.Combine(place, RootName), sandbox);
            var root = spec["root"] as JsonObject ?? [];
            spec["root"] = new JsonObject { ["path"] = $"{BundleInGuest(container.Id)}/{RootName}", ["readonly"] = root["readonly"]?.DeepClone() ?? false };
            ShareMounts(spec, container.Id, place, sandbox);
            // Bookworm's crun takes no later one, though it does all that containerd asks for.
            spec["ociVersion"] = "1.0.2";
            // What is the host's own: its hooks, its security module, its processors' numbers.
            spec.Remove("hooks");
            (spec["process"] as JsonObject)?.Remove("apparmorProfile");
            (spec["process"] as JsonObject)?.Remove("selinuxLabel");
            var cpu = spec["linux"]?["resources"]?["cpu"] as JsonObject;
            cpu?.Remove("cpus");
            cpu?.Remove("mems");
            File.WriteAllText(Path.Combine(place, "config.json"), spec.ToJsonString());
        }
        catch
        {
            Remove(container.Id);
            throw;
        }
    }

    private static void ShareMounts(JsonObject spec, string id, string place, SandboxSpec sandbox)
    {
        var number = 0;
        foreach (var mount in (spec["mounts"] as JsonArray ?? []).OfType<JsonObject>())
        {
            var (source, destination) = (mount["source"]?.GetValue<string>() ?? "", mount["destination"]?.GetValue<string>() ?? "");
            var options = (mount["options"] as JsonArray)?.Select(option => option?.GetValue<string>()).ToList() ?? [];
            if (mount["type"]?.GetValue<string>() != "bind" && !options.Contains("bind") && !options.Contains("rbind"))
            {
                continue;
            }
            if (source == SharedMemory)
            {
                continue;
            }
            var name = FormattableString.Invariant($"mount{number++}");
            Bind(source, Path.Combine(place, name), sandbox);
            mount["source"] = $"{BundleInGuest(id)}/{name}";
        }
    }

    private static void Bind(string source, string target, SandboxSpec sandbox)
    {
        if (Directory.Exists(source))
        {
            Directory.CreateDirectory(target);
        }
        else if (File.Exists(source) && (File.GetAttributes(source) & FileAttributes.Device) == 0)
        {
            File.WriteAllBytes(target, []);
        }
        else
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"{source} is neither a folder nor a file, and cannot be shared with a guest");
        }
        sandbox.RecordMount(target);
        const ulong BindAll = 0x1000 | 0x4000; // MS_BIND, MS_REC
        if (mount(source, target, null, BindAll, null) != 0)
        {
            throw new SandboxException(SandboxError.Unknown, $"{source} cannot be shared: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    /// <summary>Takes a container away; safe to repeat.</summary>
    internal void Remove(string containerId)
    {
        var place = Path.Combine(folder, containerId);
        if (!Directory.Exists(place))
        {
            return;
        }
        foreach (var entry in Directory.GetFileSystemEntries(place))
        {
            Unmount(entry);
        }
        Directory.Delete(place, recursive: true);
    }

    internal void RemoveAll()
    {
        if (Directory.Exists(folder))
        {
            Array.ForEach(Directory.GetDirectories(folder), place => Remove(Path.GetFileName(place)));
        }
    }

    private static void Unmount(string path)
    {
        const int Detach = 2, InvalidArgument = 22; // MNT_DETACH; EINVAL: nothing is mounted there
        while (umount2(path, Detach) == 0)
        {
        }
        if (Marshal.GetLastPInvokeError() != InvalidArgument)
        {
            throw new IOException($"{path} cannot be unmounted: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mount(string source, string target, string? type, ulong flags, string? data);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int umount2(string target, int flags);
}
