namespace Kuasar.Packages.Tests;

/// <summary>A real containerd, by eng/containerd.sh, whose shim and sandboxer are the consumer's.</summary>
internal sealed class PackagesBed : IAsyncDisposable
{
    private const string Run = "/run/kuasar-pkg";
    private static readonly string s_folder = Repository.Path("artifacts/packages-bed");

    private static readonly Dictionary<string, string> s_environment = new()
    {
        ["KUASAR_TESTBED"] = s_folder,
        ["KUASAR_TESTBED_RUN"] = Run,
        ["KUASAR_TESTBED_DIST"] = Settings.Downloads,
        ["KUASAR_TESTBED_LOG_LEVEL"] = "info",
        ["KUASAR_BRIDGE"] = "kuasarp0",
        ["KUASAR_SUBNET"] = "10.240.0.0/16",
    };

    private readonly FileStream _lock;
    private SandboxerProcess? _sandboxer;

    private PackagesBed(FileStream held) => _lock = held;

    /// <summary>Why there cannot be one here; null when there can.</summary>
    internal static string? Obstacle =>
        Settings.SkipReason ?? (!Libc.IsRoot ? "root is needed (mounts, namespaces, cgroups)" : null);

    internal static async Task<PackagesBed> StartAsync(Consumer consumer)
    {
        var bed = new PackagesBed(await LockAsync());
        try
        {
            await ScriptAsync("clean");
            await ScriptAsync("install");
            await ScriptAsync("images");
            await ScriptAsync("config");
            var export = (await ScriptAsync("env")).Split([' ', '\n']).Single(e => e.StartsWith("KUASAR_RUNC=", StringComparison.Ordinal));
            Directory.CreateDirectory(Run);
            File.Delete(Log);
            bed._sandboxer = await SandboxerProcess.StartAsync(consumer.Sandboxer, Path.Combine(Run, "k"), Log, "--runtime", export["KUASAR_RUNC=".Length..]);
            InstallShim(consumer.Shim);
            await ScriptAsync("start");
            await ScriptAsync("import");
            return bed;
        }
        catch
        {
            await bed.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs ctr against this containerd.</summary>
    internal static Task<(int Code, string Output)> CtrAsync(params string[] arguments) =>
        Commands.TryAsync("/bin/bash", ["-c", "eval \"$(\"$0\" env)\" && exec ctr \"$@\"", Script, .. arguments], s_environment, TimeSpan.FromSeconds(60));

    internal static string Logs => $"{LogTail.Of(Log, 40)}\n{LogTail.Of(Path.Combine(Run, "containerd.log"), 20)}";

    public async ValueTask DisposeAsync()
    {
        try
        {
            await ScriptAsync("stop");
            if (_sandboxer is not null)
            {
                Assert.True(await _sandboxer.StopAsync(), "the sandboxer did not end within 15 seconds of SIGTERM");
            }
        }
        finally
        {
            await ScriptAsync("clean");
            await _lock.DisposeAsync();
        }
    }

    private static string Log => Path.Combine(s_folder, "sandboxer.log");

    private static string Script => Repository.Path("eng/containerd.sh");

    // containerd is started without an environment, and what it runs must find a runtime all the same.
    private static void InstallShim(string shim)
    {
        File.WriteAllText(shim + ".conf", $"run-dir={Run}/k\n");
        var program = Path.Combine(Directory.CreateDirectory(Path.Combine(s_folder, "bin")).FullName, Path.GetFileName(shim));
        File.WriteAllText(program, $"#!/bin/sh\nexport DOTNET_ROOT='{Dotnet.Root}'\nexec '{shim}' \"$@\"\n");
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    // Two runs on one machine would take each other's.
    private static async Task<FileStream> LockAsync()
    {
        FileStream? held = null;
        await Within.UntilAsync(TryLock, TimeSpan.FromMinutes(5), $"another run holds {Run}.lock");
        return held!;

        bool TryLock()
        {
            try
            {
                held = new FileStream(Run + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                return true;
            }
            catch (IOException)
            {
                return false;
            }
        }
    }

    // Installing may download.
    private static Task<string> ScriptAsync(string command) =>
        Commands.RunAsync("/bin/bash", [Script, command], s_environment, TimeSpan.FromMinutes(command == "install" ? 15 : 3));
}
