using Kuasar.EndToEnd.Tests.Pods;

namespace Kuasar.EndToEnd.Tests.Guests;

/// <summary>
/// A node whose pods are virtual machines, emulated where KVM runs none. What is tested of a container alone is tested in one pod, which stays.
/// </summary>
public sealed class GuestNode(TestRun run) : OwnNode(run, "guests")
{
    /// <summary>The runtimes in CRI's configuration, by the route that containerd takes.</summary>
    internal const string ByShim = "kuasar-vmm-shim", ByProxy = "kuasar-vmm-proxy";

    private static readonly string[] s_programs = ["qemu-system", "virtiofsd", "vhost-device-vsock"];
    private ContainerdClient? _client;
    private Pod? _shared;

    internal override string? Missing => OursOnly ?? ProxyPluginsOnly ?? (
        !File.Exists(Path.Combine(Image, "initrd.img")) ? $"no guest image in {Image}: run eng/guest-image.sh"
        : !File.Exists(Path.Combine(Prefix, "usr/bin/qemu-system-x86_64")) ? $"no QEMU in {Prefix}: run eng/vmm.sh"
        : null);

    protected override SandboxerPlan Plan => new()
    {
        Kind = "vmm",
        Arguments = ["--kernel", Path.Combine(Image, "vmlinux"), "--initrd", Path.Combine(Image, "initrd.img"), "--prefix", Prefix],
    };

    internal override ContainerdClient Client => _client ??= new ContainerdClient(Node.Bed.Socket, "k8s.io");

    private static string Image => Environment.GetEnvironmentVariable("KUASAR_GUEST") ?? Repository.Path("artifacts/vmm/guest");

    private static string Prefix => Environment.GetEnvironmentVariable("KUASAR_VMM_PREFIX") ?? Repository.Path("artifacts/vmm/prefix");

    internal override IEnumerable<string> Logs =>
        Links.Select(link => Path.Combine(link, "console.log"));

    internal override async Task<ContainerPlan> PlaceAsync(ContainerPlan plan)
    {
        _shared ??= await Pod.RunAsync(Node, "shared", ByShim);
        return plan with { Runtime = "io.containerd.kuasar-vmm.v1", SandboxId = _shared.Id };
    }

    /// <summary>The processes of a pod's machine: QEMU, virtiofsd, vhost-device-vsock.</summary>
    internal IReadOnlyDictionary<string, int> MachineOf(Pod pod)
    {
        var link = LinkOf(pod) ?? throw new InvalidOperationException($"pod {pod.Id} has no machine");
        var processes = Proc.Pids().Select(pid => (Pid: pid, Line: Proc.CommandLine(pid))).Where(process => process.Line.Contains(link + "/", StringComparison.Ordinal)).ToList();
        return s_programs.ToDictionary(
            name => name, name => processes.Single(process => process.Line.Contains("/" + name, StringComparison.Ordinal)).Pid);
    }

    /// <summary>The short names of pods' folders.</summary>
    internal IEnumerable<string> Links => Path.Combine(Node.RunDirectory, "l") is var folder && Directory.Exists(folder) ? Directory.EnumerateFileSystemEntries(folder) : [];

    /// <summary>The short name of the pod's folder; null when there is none.</summary>
    internal string? LinkOf(Pod pod) =>
        Links.FirstOrDefault(link => new FileInfo(link).LinkTarget!.Contains(pod.Id, StringComparison.Ordinal));

    /// <summary>Ends the one behind the keeper, and waits for the next.</summary>
    internal async Task KillSandboxerAsync()
    {
        var sandboxer = Node.Sandboxer!.KeptProcessId;
        Libc.Signal(sandboxer, Libc.SIGKILL);
        await Within.UntilAsync(() => Node.Sandboxer!.TryFindKept() is { } next && next != sandboxer, what: "the keeper starts the next one");
    }

    protected override async Task StoppingAsync()
    {
        if (_shared is not null)
        {
            await _shared.DisposeAsync();
        }
        _client?.Dispose();
    }
}

[CollectionDefinition(Name)]
public sealed class GuestTests : ICollectionFixture<GuestNode>
{
    public const string Name = "guests";
}
