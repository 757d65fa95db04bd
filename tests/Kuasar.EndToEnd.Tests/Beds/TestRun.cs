[assembly: AssemblyFixture(typeof(TestRun))]

namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>The whole run: what is needed once, and the node that most tests share.</summary>
public sealed class TestRun : IAsyncLifetime
{
    private FileStream? _lock;
    private Node? _main;
    private Exception? _failure;

    /// <summary>Where our published programs are.</summary>
    internal string Binaries { get; private set; } = "";

    /// <summary>Why nothing runs here; null when it does.</summary>
    public string? SkipReason { get; private set; }

    /// <summary>Whether there are nodes at all.</summary>
    public bool IsUp => _main is not null;

    /// <summary>Whether this containerd takes sandboxes of proxy plugins: 1.7 does not.</summary>
    public bool HasProxyPlugins => File.ReadAllText(Path.Combine(Main.Bed.Folder, "config.toml")).Contains("proxy_plugins", StringComparison.Ordinal);

    /// <summary>The shared node.</summary>
    public Node Main => _main ?? throw new InvalidOperationException("there is no node");

    public async ValueTask InitializeAsync()
    {
        SkipReason = Obstacle();
        if (SkipReason is not null)
        {
            return;
        }
        try
        {
            await TakeLockAsync();
            Binaries = Settings.IsOurs ? await Publication.FindOrMakeAsync() : "";
            _main = await Node.StartAsync("main", Binaries);
        }
#pragma warning disable CA1031 // told at the end, once and not with every test
        catch (Exception e)
#pragma warning restore CA1031
        {
            _failure = e;
        }
    }

    /// <summary>Fails or skips the test that cannot run.</summary>
    internal void Require()
    {
        Assert.SkipWhen(SkipReason is not null, SkipReason ?? "");
        Assert.True(_failure is null, "the run could not be set up: see the errors at its end");
    }

    internal Task<Node> StartNodeAsync(string name, Node? other = null, SandboxerPlan? plan = null) =>
        Node.StartAsync(name, Binaries, other, plan);

    public async ValueTask DisposeAsync()
    {
        var problems = _main is null ? [] : await _main.StopAsync();
        if (_lock is not null)
        {
            await _lock.DisposeAsync();
        }
        if (_failure is not null)
        {
            throw new InvalidOperationException("the run could not be set up", _failure);
        }
        Assert.True(problems.Count == 0, $"left by the tests:\n{string.Join('\n', problems)}");
    }

    private static string? Obstacle() =>
        Settings.SkipReason ?? (
        !Libc.IsRoot ? "root is needed (mounts, namespaces, cgroups)"
        : !OnPath("bash") ? "bash is needed"
        : !OnPath("apt-get") && !OnPath("containerd") ? "neither a containerd nor apt-get to get one with"
        : null);

    private static bool OnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));

    // Two runs on one machine would take each other's beds.
    private async Task TakeLockAsync()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Settings.Run)!);
        await Within.UntilAsync(TryLock, TimeSpan.FromMinutes(15), $"another run holds {Settings.Run}.lock");

        bool TryLock()
        {
            try
            {
                _lock = new FileStream(Settings.Run + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                return true;
            }
            catch (IOException)
            {
                return false;
            }
        }
    }
}
