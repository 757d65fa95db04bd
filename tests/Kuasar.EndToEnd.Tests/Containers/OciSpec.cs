using System.Text.Json.Nodes;

namespace Kuasar.EndToEnd.Tests.Containers;

/// <summary>OCI specs, small ones: what a shell in busybox needs.</summary>
internal static class OciSpec
{
    internal static JsonObject Container(string place, string id, params string[] arguments) => new()
    {
        ["ociVersion"] = "1.0.2",
        ["hostname"] = id.Length > 60 ? id[..60] : id,
        ["root"] = new JsonObject { ["path"] = "rootfs" },
        ["process"] = Process(arguments),
        ["mounts"] = new JsonArray(
            Mount("/proc", "proc", "nosuid", "noexec", "nodev"),
            Mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            Mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
        ["linux"] = new JsonObject
        {
            ["cgroupsPath"] = $"/kuasar-e2e-{place}/{id}",
            // The host's network: none of these tests is about it, and namespaces of it are slow to go.
            ["namespaces"] = Namespaces("pid", "ipc", "uts", "mount"),
            ["resources"] = new JsonObject(),
        },
    };

    internal static JsonObject Process(params string[] arguments) => new()
    {
        ["args"] = new JsonArray([.. arguments.Select(a => (JsonNode)a)]),
        ["cwd"] = "/",
        ["env"] = new JsonArray("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"),
        ["user"] = new JsonObject { ["uid"] = 0, ["gid"] = 0 },
        ["noNewPrivileges"] = true,
    };

    internal static JsonArray Namespaces(params string[] types) => [.. types.Select(t => (JsonNode)new JsonObject { ["type"] = t })];

    /// <summary>No pid namespace of its own: init sees, and shares, the host's processes.</summary>
    internal static void WithHostPids(JsonObject spec) => spec["linux"]!["namespaces"] = Namespaces("ipc", "uts", "mount");

    /// <summary>The pid namespace of another process.</summary>
    internal static Action<JsonObject> WithPidsOf(uint pid) => spec =>
    {
        WithHostPids(spec);
        spec["linux"]!["namespaces"]!.AsArray().Add(new JsonObject { ["type"] = "pid", ["path"] = $"/proc/{pid}/ns/pid" });
    };

    internal static Action<JsonObject> WithMemoryLimit(long bytes) =>
        spec => spec["linux"]!["resources"]!["memory"] = new JsonObject { ["limit"] = bytes, ["swap"] = bytes };

    private static JsonObject Mount(string destination, string type, params string[] options) => new()
    {
        ["destination"] = destination,
        ["type"] = type,
        ["source"] = type,
        ["options"] = new JsonArray([.. options.Select(o => (JsonNode)o)]),
    };
}
