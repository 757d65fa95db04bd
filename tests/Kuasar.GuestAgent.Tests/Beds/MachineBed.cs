using Kuasar.Vmm;
using Kuasar.Vmm.Conformance.Tests.Bench;

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>
/// The agent as pid 1 of a guest: emulated by QEMU, with the image of eng/guest-image.sh, a folder shared by virtiofs, hybrid vsock, a network
/// device whose tap leads nowhere, and room for one more device and one more processor.
/// </summary>
public sealed class MachineBed : AgentBed
{
    private static readonly TimeSpan s_bootLimit = TimeSpan.FromSeconds(90), s_endLimit = TimeSpan.FromSeconds(30);

    private readonly ScratchFolder _scratch = new();
    private VirtualMachine? _machine;

    internal override bool IsMachine => true;

    internal override string Share => _scratch.Path("share");

    internal override string ShareInAgent => "/run/kuasar/state";

    /// <summary>Of the guest's network device.</summary>
    internal static string HardwareAddress => "52:54:00:12:34:56";

    /// <summary>What the kernel and the agent have written.</summary>
    internal string Console => File.Exists(_scratch.Path("console")) ? File.ReadAllText(_scratch.Path("console")) : "";

    internal VirtualMachine Machine => _machine ?? throw new InvalidOperationException("there is no machine");

    private static string Image => Environment.GetEnvironmentVariable("KUASAR_GUEST") ?? Repository.Path("artifacts/vmm/guest");

    /// <summary>Where Debian's packages of QEMU, virtiofsd and vhost-device-vsock have been unpacked.</summary>
    private static string Prefix => Environment.GetEnvironmentVariable("KUASAR_VMM_PREFIX") ?? Repository.Path("artifacts/vmm/prefix");

    public override async ValueTask InitializeAsync()
    {
        Reason = Environment.UserName != "root" ? "needs root"
            : !File.Exists(Path.Combine(Image, "initrd.img")) ? $"no guest image in {Image}: run eng/guest-image.sh"
            : !File.Exists(Path.Combine(Prefix, "usr/bin/qemu-system-x86_64")) ? $"no QEMU in {Prefix}"
            : null;
        if (Reason is not null)
        {
            return;
        }
        _scratch.Folder("share");
        var hypervisor = new QemuHypervisor(QemuOptions.FromPrefix(Prefix) with { Accelerator = QemuAccelerator.Tcg, HotplugSlots = 1 });
        var config = new VmConfig
        {
            Kernel = Path.Combine(Image, "vmlinux"),
            Initrd = Path.Combine(Image, "initrd.img"),
            CommandLine = "quiet rdinit=/init nokaslr mitigations=off task.debug",
            MaxVcpus = 2,
            FileSystems = [new VmFileSystem("state", "kuasar", Share)],
            Nets = [new VmNet("net", HardwareAddress) { TapName = NewTap(0) }],
            Vsock = new VmVsock(),
            ConsoleLog = _scratch.Path("console"),
        };
        _machine = hypervisor.Create(config, new VmEnvironment(_scratch.Path("vm")));
        await using var ready = Machine.EndPoint(Kuasar.Vmm.AgentClient.CallHomePort).Listen();
        using var limit = new CancellationTokenSource(s_bootLimit);
        try
        {
            await Machine.BootAsync(limit.Token);
            await using var call = await ready.AcceptStreamAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"the guest does not get ready:\n{Console}");
        }
    }

    /// <summary>The name of a tap that QEMU makes when it opens it, and that goes with QEMU.</summary>
    internal static string NewTap(int number) => $"kga{Environment.ProcessId}-{number}";

    /// <summary>How the guest has ended by itself.</summary>
    internal Task<VmExit> EndAsync() => Machine.Exited.WaitAsync(s_endLimit);

    internal override async ValueTask<Stream> DialAsync(CancellationToken cancellationToken) =>
        await Machine.ConnectAsync(Kuasar.Vmm.AgentClient.Port, TimeSpan.FromSeconds(5), cancellationToken);

    public override async ValueTask DisposeAsync()
    {
        try
        {
            if (_machine is not null)
            {
                File.WriteAllText(Path.Combine(AppContext.BaseDirectory, "console.log"), Console);
                await _machine.KillAsync();
                await _machine.DisposeAsync();
            }
        }
        finally
        {
            _scratch.Dispose();
        }
    }
}
