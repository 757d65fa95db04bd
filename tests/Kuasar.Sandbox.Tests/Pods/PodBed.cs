using System.Globalization;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Sandbox.Cgroups;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Pods;

/// <summary>Pods on the real kernel: a folder, a network namespace, and a look at what is left of them.</summary>
internal sealed class PodBed : IAsyncDisposable
{
    private static int s_count;

    private readonly Bed _bed = new();
    private readonly string _netns = $"kuasar-pod-test-{Environment.ProcessId}";
    private readonly List<LinuxPod> _pods = [];

    private PodBed()
    {
    }

    internal static async Task<PodBed> CreateAsync()
    {
        Assert.SkipUnless(Libc.EffectiveUserId == 0, "namespaces and mounts need root");
        Assert.SkipUnless(File.Exists("/usr/bin/nsenter") && File.Exists("/usr/sbin/ip"), "nsenter and ip are needed");
        // What tests of killed sandboxers have left to us, their subreaper.
        Bed.EndDescendants();
        var bed = new PodBed();
        await bed._bed.Processes.Start("/usr/sbin/ip", ["netns", "add", bed._netns]).Exited.InTime();
        return bed;
    }

    internal string NetworkNamespace => $"/run/netns/{_netns}";

    internal Bed Inner => _bed;

    internal static PodSandboxConfig Config(NamespaceMode pid = NamespaceMode.Container, NamespaceMode ipc = NamespaceMode.Pod, NamespaceMode network = NamespaceMode.Pod) => new()
    {
        Hostname = "my-pod",
        Linux = new LinuxPodSandboxConfig
        {
            SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = new NamespaceOption { Pid = pid, Ipc = ipc, Network = network } },
        },
    };

    internal SandboxSpec Spec(PodSandboxConfig? config)
    {
        var id = $"pod{Environment.ProcessId}x{Interlocked.Increment(ref s_count)}";
        return new SandboxSpec
        {
            Namespace = "kuasar-unit",
            Id = id,
            Instance = "i",
            WorkDirectory = Directory.CreateDirectory(_bed.PathOf(id)).FullName,
            Pod = config,
            NetworkNamespace = config?.Linux?.SecurityContext?.NamespaceOptions?.Network == NamespaceMode.Node ? null : NetworkNamespace,
        };
    }

    internal LinuxPod New(SandboxSpec spec)
    {
        var pod = new LinuxPod(spec, _bed.Services);
        _pods.Add(pod);
        return pod;
    }

    internal async Task<(LinuxPod Pod, SandboxSpec Spec)> StartAsync(PodSandboxConfig config)
    {
        var spec = Spec(config);
        var pod = New(spec);
        await pod.StartAsync(TestContext.Current.CancellationToken);
        return (pod, spec);
    }

    /// <summary>What a shell says in some of the pod's namespaces.</summary>
    internal Task<string> InsideAsync(SandboxSpec spec, string script, params string[] namespaces) => Bed.OutputOf(stdout => _bed.Processes.Start(
        "/usr/bin/nsenter", [.. namespaces.Select(n => $"--{n}={(n == "net" ? spec.NetworkNamespace : Path.Combine(spec.WorkDirectory, n))}"), "/bin/sh", "-c", script],
        stdout: stdout, stderr: stdout));

    internal static string? Namespace(string process, string name) => new FileInfo($"/proc/{process}/ns/{name}").LinkTarget;

    /// <summary>Mount points of the folder's pods.</summary>
    internal List<string> Mounts() =>
        [.. File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4]).Where(path => path.StartsWith(_bed.Folder + "/", StringComparison.Ordinal))];

    /// <summary>Folders of the pod's own cgroup.</summary>
    internal static List<string> Cgroups(SandboxSpec spec) =>
        [.. (Cgroup.At($"/{spec.Namespace}/{spec.Id}", CgroupMount.OfThisHost)?.Folders ?? []).Where(Directory.Exists)];

    /// <summary>Processes of this one's children.</summary>
    internal static List<int> Children() =>
        [.. Directory.GetDirectories("/proc/self/task").SelectMany(task => Kuasar.Sandbox.Processes.Procfs.Words($"{task}/children")).Select(int.Parse)];

    internal static bool HasThread(string name) =>
        Directory.GetDirectories("/proc/self/task").Any(task =>
        {
            try
            {
                return File.ReadAllText($"{task}/comm").Trim() == name;
            }
            catch (IOException)
            {
                return false;
            }
        });

    /// <summary>Nothing is mounted, runs or is in a cgroup of the pod's.</summary>
    internal async Task NothingLeftAsync(SandboxSpec spec)
    {
        Assert.Empty(Mounts());
        Assert.Empty(Cgroups(spec));
        Assert.Empty(Children());
        // It ends a moment after the call that it was for.
        await Within.Until(() => !HasThread("kuasar-pod"), "the end of the pod's thread");
    }

    internal static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    public async ValueTask DisposeAsync()
    {
        foreach (var pod in _pods)
        {
            await pod.DisposeAsync();
        }
        await _bed.Processes.Start("/usr/sbin/ip", ["netns", "delete", _netns]).Exited.InTime();
        _bed.Dispose();
        foreach (var folder in Cgroup.At("/kuasar-unit", CgroupMount.OfThisHost)?.Folders ?? [])
        {
            // Left by a test that failed, which says so itself.
            foreach (var child in Directory.Exists(folder) ? Directory.GetDirectories(folder) : [])
            {
                Libc.TryRemoveFolder(child);
            }
            Libc.TryRemoveFolder(folder);
        }
    }
}
