namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>What the environment says, with its defaults.</summary>
internal static class Settings
{
    internal const string OurRuntime = "io.containerd.kuasar-runc.v1", StockRuntime = "io.containerd.runc.v2";

    /// <summary>The stock runtime in our place shows that a test asks nothing that containerd's own would not do.</summary>
    internal static string Runtime { get; } = Get("KUASAR_E2E_RUNTIME", OurRuntime);

    internal static bool IsOurs => Runtime == OurRuntime;

    /// <summary>The name of the runtime in CRI's configuration, as eng/containerd.sh writes it.</summary>
    internal static string Handler => IsOurs ? "kuasar-runc" : "runc";

    /// <summary>The published programs; made here when not given.</summary>
    internal static string? Binaries { get; } = Environment.GetEnvironmentVariable("KUASAR_BIN") is { Length: > 0 } folder ? folder : null;

    /// <summary>Beds lie beside the one that others may use at the same time, and share its downloads.</summary>
    internal static string Beds => Path.Combine(Path.GetDirectoryName(TestBed)!, "e2e");

    internal static string Downloads => Get("KUASAR_TESTBED_DIST", Path.Combine(TestBed, "dist"));

    /// <summary>Short, as socket paths end at 107 characters.</summary>
    internal static string Run { get; } = Get("KUASAR_E2E_RUN", "/run/kuasar-e2e");

    /// <summary>Why nothing here is to run, if so.</summary>
    internal static string? SkipReason { get; } = Environment.GetEnvironmentVariable("KUASAR_E2E_SKIP") is { Length: > 0 } reason ? reason : null;

    private static string TestBed { get; } = Path.GetFullPath(Get("KUASAR_TESTBED", Repository.Path("artifacts/testbed")));

    private static string Get(string name, string fallback) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : fallback;
}
