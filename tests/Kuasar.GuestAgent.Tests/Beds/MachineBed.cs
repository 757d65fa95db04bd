using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Kuasar.Vmm;

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>
/// The agent as pid 1 of a guest: emulated by QEMU, with the image of eng/guest-image.sh, a folder shared by virtiofs, hybrid vsock, a network
/// device without a network.
/// </summary>
public sealed class MachineBed : AgentBed
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(90);

    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar-guest-").FullName;
    private readonly List<ChildProcess> _processes = [];

    internal override bool IsMachine => true;

    internal override string Share => PathOf("share");

    internal override string ShareInAgent => "/run/kuasar/state";

    /// <summary>Of the guest's network device.</summary>
    internal static string HardwareAddress => "52:54:00:12:34:56";

    /// <summary>What the kernel and the agent have written.</summary>
    internal string Console => File.Exists(PathOf("console")) ? File.ReadAllText(PathOf("console")) : "";

    /// <summary>The emulator.</summary>
    internal ChildProcess Machine => _processes[^1];

    private static string Image => Environment.GetEnvironmentVariable("KUASAR_GUEST") ?? Path.Combine(Repository, "artifacts/vmm/guest");

    /// <summary>Where Debian's packages of QEMU, virtiofsd and vhost-device-vsock have been unpacked.</summary>
    private static string Prefix => Environment.GetEnvironmentVariable("KUASAR_VMM_PREFIX") ?? Path.Combine(Repository, "artifacts/vmm/prefix");

    private string PathOf(string name) => Path.Combine(_folder, name);

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
        Directory.CreateDirectory(Share);
        await using var ready = VsockEndPoint.Hybrid(PathOf("v"), Kuasar.Vmm.AgentClient.CallHomePort).Listen();
        Start("vhost-device-vsock", "usr/bin/vhost-device-vsock", "--vm", $"guest-cid=3,socket={PathOf("vhost")},uds-path={PathOf("v")}");
        Start("virtiofsd", "usr/libexec/virtiofsd", "--socket-path", PathOf("fs"), "--shared-dir", Share, "--sandbox", "chroot");
        await UntilAsync(() => File.Exists(PathOf("vhost")) && File.Exists(PathOf("fs")));
        Start("qemu", "usr/bin/qemu-system-x86_64", [.. Arguments()]);
        using var limit = new CancellationTokenSource(BootLimit);
        try
        {
            await using var call = await ready.AcceptStreamAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"the guest does not get ready:\n{Console}\n{File.ReadAllText(PathOf("qemu.log"))}");
        }
    }

    private IEnumerable<string> Arguments() =>
    [
        "-L", Path.Combine(Prefix, "usr/share/qemu"), "-L", Path.Combine(Prefix, "usr/share/seabios"),
        "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-M", "q35,memory-backend=mem", "-m", "256M", "-smp", "1,maxcpus=2,sockets=2,cores=1", "-no-reboot",
        "-object", "memory-backend-memfd,id=mem,size=256M,share=on",
        "-kernel", Path.Combine(Image, "vmlinux"), "-initrd", Path.Combine(Image, "initrd.img"),
        "-append", $"console=ttyS0 quiet panic=-1 reboot=t rdinit=/init tsc_early_khz={TscKilohertz()} nokaslr mitigations=off task.debug",
        "-serial", "file:" + PathOf("console"),
        "-chardev", $"socket,id=vsock,path={PathOf("vhost")}", "-device", "vhost-user-vsock-pci,chardev=vsock",
        "-chardev", $"socket,id=fs,path={PathOf("fs")}", "-device", "vhost-user-fs-pci,chardev=fs,tag=kuasar",
        "-qmp", $"unix:{PathOf("qmp")},server=on,wait=off", "-device", "pcie-root-port,id=spare,chassis=1,slot=1",
        "-netdev", "hubport,id=net,hubid=0", "-device", $"virtio-net-pci,netdev=net,mac={HardwareAddress},romfile=",
    ];

    /// <summary>The emulated TSC is the host's, and on a busy host the guest's kernel would measure it wrongly.</summary>
    private static string TscKilohertz()
    {
        var line = File.ReadLines("/proc/cpuinfo").First(line => line.StartsWith("cpu MHz", StringComparison.Ordinal));
        return (double.Parse(line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..], CultureInfo.InvariantCulture) * 1000).ToString("F0", CultureInfo.InvariantCulture);
    }

    private void Start(string name, string program, params IEnumerable<string> arguments)
    {
        // By its suite's own loader: this host's C library may be older.
        var libraries = Path.Combine(Prefix, "usr/lib/x86_64-linux-gnu");
        _processes.Add(new ChildProcess(
            PathOf(name + ".log"), Path.Combine(libraries, "ld-linux-x86-64.so.2"), ["--library-path", libraries, Path.Combine(Prefix, program), .. arguments]));
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (var i = 0; !condition(); i++)
        {
            Assert.True(i < 500, "the daemons of the guest do not get ready");
            await Task.Delay(20);
        }
    }

    /// <summary>Has the emulator do something: commands of QMP, in JSON.</summary>
    internal async Task CommandAsync(params IEnumerable<string> commands)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, 0);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(PathOf("qmp")));
        await using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream);
        foreach (var command in commands.Prepend("""{"execute":"qmp_capabilities"}"""))
        {
            await stream.WriteAsync(Encoding.UTF8.GetBytes(command + "\n"));
            string answer;
            do
            {
                answer = await reader.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(10)) ?? throw new InvalidOperationException("the emulator has ended");
                Assert.False(answer.StartsWith("{\"error\"", StringComparison.Ordinal), answer);
            }
            while (!answer.Contains("\"return\"", StringComparison.Ordinal));
        }
    }

    internal override async ValueTask<Stream> DialAsync(CancellationToken cancellationToken) =>
        await VsockEndPoint.Hybrid(PathOf("v"), Kuasar.Vmm.AgentClient.Port).ConnectAsync(TimeSpan.FromSeconds(5), cancellationToken);

    public override async ValueTask DisposeAsync()
    {
        if (Reason is null)
        {
            File.WriteAllText(Path.Combine(AppContext.BaseDirectory, "console.log"), Console);
        }
        _processes.Reverse();
        foreach (var process in _processes)
        {
            await process.DisposeAsync();
        }
        Directory.Delete(_folder, recursive: true);
    }
}
