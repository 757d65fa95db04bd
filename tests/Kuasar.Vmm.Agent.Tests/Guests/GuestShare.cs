using System.Text.Json.Nodes;
using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Agent.Tests.Guests;

/// <summary>The folder that host and guest share: a container's bundle is made on the host, and named by its path in the guest.</summary>
internal static class GuestShare
{
    internal const string InGuest = "/run/kuasar/state";

    /// <summary>A bundle with the guest's busybox, which needs no libraries, as its whole rootfs.</summary>
    /// <returns>The bundle's path in the guest.</returns>
    internal static async Task<string> AddBusyboxBundleAsync(this QemuGuest guest, string id, bool terminal, params string[] arguments)
    {
        var path = guest.Share;
        var bin = Directory.CreateDirectory(Path.Combine(path, id, "rootfs", "bin")).FullName;
        foreach (var folder in new[] { "proc", "dev", "sys", "tmp" })
        {
            Directory.CreateDirectory(Path.Combine(path, id, "rootfs", folder));
        }
        await guest.RunAsync($"cat /bin/busybox >{InGuest}/{id}/rootfs/bin/busybox && busybox chmod 755 {InGuest}/{id}/rootfs/bin/busybox");
        foreach (var applet in new[] { "sh", "cat", "sleep", "dd", "wc", "md5sum", "stty" })
        {
            File.CreateSymbolicLink(Path.Combine(bin, applet), "busybox");
        }
        var spec = new JsonObject
        {
            ["ociVersion"] = "1.0.2",
            ["process"] = Process(terminal, arguments),
            ["root"] = new JsonObject { ["path"] = $"{InGuest}/{id}/rootfs" },
            ["mounts"] = new JsonArray(Mount("/proc", "proc"), Mount("/dev", "tmpfs"), Mount("/dev/pts", "devpts")),
            ["linux"] = new JsonObject
            {
                ["namespaces"] = new JsonArray(Namespace("pid"), Namespace("mount"), Namespace("ipc"), Namespace("uts")),
            },
        };
        await File.WriteAllTextAsync(Path.Combine(path, id, "config.json"), spec.ToJsonString());
        return $"{InGuest}/{id}";
    }

    internal static JsonObject Process(bool terminal, params string[] arguments) => new()
    {
        ["terminal"] = terminal,
        ["user"] = new JsonObject { ["uid"] = 0, ["gid"] = 0 },
        ["args"] = new JsonArray([.. arguments.Select(static argument => JsonValue.Create(argument))]),
        ["env"] = new JsonArray("PATH=/bin"),
        ["cwd"] = "/",
    };

    private static JsonObject Namespace(string type) => new() { ["type"] = type };

    private static JsonObject Mount(string target, string type) => new() { ["destination"] = target, ["type"] = type, ["source"] = type };
}
