using System.Text.Json.Nodes;

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>An OCI bundle with busybox for its root, in a folder that the agent sees.</summary>
internal static class Bundle
{
    private static readonly string[] s_applets = ["sh", "cat", "echo", "sleep", "stty", "dd", "head", "tail", "wc", "id", "hostname", "tty", "ls", "yes", "kill", "ip", "ps", "stat", "env", "awk", "readlink"];

    internal static string Busybox => ((string[])["/bin/busybox", "/usr/bin/busybox"]).FirstOrDefault(File.Exists)
        ?? throw new InvalidOperationException("No static busybox on this host: install busybox-static.");

    /// <summary>Makes FOLDER/rootfs and FOLDER/config.json.</summary>
    internal static void Write(string folder, string[] args, bool terminal = false, Action<JsonObject>? change = null)
    {
        var bin = Path.Combine(folder, "rootfs", "bin");
        foreach (var name in (string[])["bin", "proc", "dev", "sys", "tmp", "etc"])
        {
            Directory.CreateDirectory(Path.Combine(folder, "rootfs", name));
        }
        File.Copy(Busybox, Path.Combine(bin, "busybox"));
        File.SetUnixFileMode(Path.Combine(bin, "busybox"), (UnixFileMode)0x1ED);
        foreach (var applet in s_applets)
        {
            File.CreateSymbolicLink(Path.Combine(bin, applet), "busybox");
        }
        var spec = Spec(args, terminal);
        change?.Invoke(spec);
        File.WriteAllText(Path.Combine(folder, "config.json"), spec.ToJsonString());
    }

    internal static JsonObject Process(string[] args, bool terminal = false) => new()
    {
        ["terminal"] = terminal,
        ["user"] = new JsonObject { ["uid"] = 0, ["gid"] = 0 },
        ["args"] = new JsonArray([.. args.Select(arg => JsonValue.Create(arg))]),
        ["env"] = new JsonArray("PATH=/bin", "TERM=xterm"),
        ["cwd"] = "/",
        ["capabilities"] = new JsonObject
        {
            ["bounding"] = new JsonArray("CAP_KILL", "CAP_SYS_ADMIN"),
            ["effective"] = new JsonArray("CAP_KILL", "CAP_SYS_ADMIN"),
            ["permitted"] = new JsonArray("CAP_KILL", "CAP_SYS_ADMIN"),
        },
    };

    private static JsonObject Spec(string[] args, bool terminal) => new()
    {
        ["ociVersion"] = "1.0.2",
        ["process"] = Process(args, terminal),
        ["root"] = new JsonObject { ["path"] = "rootfs" },
        ["hostname"] = "box",
        ["mounts"] = new JsonArray(
            Mount("proc", "proc", "/proc"),
            Mount("tmpfs", "tmpfs", "/dev", "nosuid", "mode=755", "size=65536k"),
            Mount("devpts", "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")),
        ["linux"] = new JsonObject
        {
            ["namespaces"] = new JsonArray([.. ((string[])["pid", "ipc", "uts", "mount"]).Select(type => new JsonObject { ["type"] = type })]),
        },
    };

    private static JsonObject Mount(string type, string source, string destination, params string[] options) => new()
    {
        ["destination"] = destination,
        ["type"] = type,
        ["source"] = source,
        ["options"] = new JsonArray([.. options.Select(option => JsonValue.Create(option))]),
    };
}
