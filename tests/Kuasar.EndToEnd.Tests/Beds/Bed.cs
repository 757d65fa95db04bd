namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>One real containerd, by eng/containerd.sh.</summary>
internal sealed class Bed
{
    // Beds that run at once differ in folders, bridge and subnet. By name, so that what a broken run left is found again.
    private static readonly string[] s_names =
        ["main", "pods", "restart", "second", "death", "input", "leaks", "shim", "sandboxes", "proxy", "fifty-shim", "fifty-proxy", "recovery", "continuity", "fifty-kept", "guests"];
    private readonly Dictionary<string, string> _environment;

    internal Bed(string name)
    {
        var number = Array.IndexOf(s_names, name);
        ArgumentOutOfRangeException.ThrowIfNegative(number, nameof(name));
        Folder = Path.Combine(Settings.Beds, name);
        Run = Path.Combine(Settings.Run, name);
        _environment = new Dictionary<string, string>
        {
            ["KUASAR_TESTBED"] = Folder,
            ["KUASAR_TESTBED_RUN"] = Run,
            ["KUASAR_TESTBED_DIST"] = Settings.Downloads,
            ["KUASAR_TESTBED_LOG_LEVEL"] = "info",
            ["KUASAR_BRIDGE"] = $"kuasare{number}",
            ["KUASAR_SUBNET"] = $"10.{214 + number}.0.0/16",
        };
    }

    internal string Folder { get; }

    internal string Run { get; }

    internal string Socket => Path.Combine(Run, "containerd.sock");

    internal string Log => Path.Combine(Run, "containerd.log");

    internal string Snapshotter { get; private set; } = "";

    internal string Runc { get; private set; } = "";

    internal string Bundle(string containerdNamespace, string id) =>
        Path.Combine(Run, "state/io.containerd.runtime.v2.task", containerdNamespace, id);

    /// <summary>Everything up to a containerd that could be started.</summary>
    internal async Task PrepareAsync()
    {
        await ScriptAsync("clean");
        await ScriptAsync("install");
        if (!File.Exists(Path.Combine(Folder, "images/pause.tar")))
        {
            await ScriptAsync("images");
        }
        await ScriptAsync("config");
        var exports = (await ScriptAsync("env")).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        Snapshotter = Export("CONTAINERD_SNAPSHOTTER");
        Runc = Export("KUASAR_RUNC");

        string Export(string name) => exports.Single(e => e.StartsWith(name + "=", StringComparison.Ordinal))[(name.Length + 1)..];
    }

    internal Task StartAsync() => ScriptAsync("start");

    internal Task ImportAsync() => ScriptAsync("import");

    /// <summary>Ends containerd; tasks stay.</summary>
    internal Task StopAsync(string signal = "TERM") => ScriptAsync("stop", signal);

    /// <summary>What is left of this bed, empty for nothing.</summary>
    internal async Task<string> LeftoversAsync() =>
        (await Commands.TryAsync("/bin/bash", [Script, "leftovers"], _environment, TimeSpan.FromSeconds(60))).Output;

    internal Task CleanAsync() => ScriptAsync("clean");

    private static string Script => Repository.Path("eng/containerd.sh");

    // Installing may download.
    private Task<string> ScriptAsync(string command, params string[] arguments) =>
        Commands.RunAsync("/bin/bash", [Script, command, .. arguments], _environment, TimeSpan.FromMinutes(command == "install" ? 15 : 3));
}
