using System.Diagnostics;
using System.Text;
using Kuasar.Vmm;

namespace Vmm;

/// <summary>A guest booted by the library, always in the same folder, so that its command lines are those of the last.</summary>
internal sealed class LibraryBoot(Hypervisor hypervisor, string image, string folder)
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);

    /// <summary>The guest has it at /run/kuasar/state.</summary>
    internal string Share => Path.Combine(folder, "share");

    /// <summary>Of the last guest: each daemon's and QEMU's, in the order in which they were started.</summary>
    internal IReadOnlyList<(string Role, string[] Arguments)> CommandLines { get; private set; } = [];

    /// <summary>How long it takes from nothing to the start of the vcpus, to the guest's call, and to a pod that is set up.</summary>
    internal async Task<(TimeSpan Booted, TimeSpan Ready, TimeSpan SetUp)> RunAsync(CancellationToken cancellationToken)
    {
        (TimeSpan Booted, TimeSpan Ready, TimeSpan SetUp) times = default;
        await WithGuestAsync(async (machine, agent, booted, ready, start) =>
        {
            await agent.SetupSandboxAsync("{}"u8.ToArray(), GuestNetwork.None, cancellationToken);
            times = (booted, ready, Stopwatch.GetElapsedTime(start));
            CommandLines = [.. machine.Record.Processes.Select(process => (process.Role, ArgumentsOf(process.Process.Pid)))];
        }, cancellationToken);
        return times;
    }

    /// <summary>Does something with a guest that has called home, and ends it.</summary>
    internal async Task WithGuestAsync(Func<VirtualMachine, AgentClient, TimeSpan, TimeSpan, long, Task> doAsync, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Share);
        var console = Path.Combine(folder, "console.log");
        File.Delete(console);
        var start = Stopwatch.GetTimestamp();
        await using var machine = hypervisor.Create(
            new VmConfig
            {
                Kernel = Path.Combine(image, "vmlinux"),
                Initrd = Path.Combine(image, "initrd.img"),
                CommandLine = "quiet",
                FileSystems = [new VmFileSystem("share", "kuasar", Share)],
                Vsock = new VmVsock(),
                ConsoleLog = console,
            },
            new VmEnvironment(Path.Combine(folder, "vm")));
        try
        {
            await using var callHome = machine.EndPoint(AgentClient.CallHomePort).Listen();
            await machine.BootAsync(cancellationToken);
            var booted = Stopwatch.GetElapsedTime(start);
            await using var agent = AgentClient.For(machine);
            await agent.WaitReadyAsync(callHome, s_limit, cancellationToken);
            await doAsync(machine, agent, booted, Stopwatch.GetElapsedTime(start), start);
        }
        finally
        {
            await machine.KillAsync();
        }
    }

    private static string[] ArgumentsOf(int pid) => Encoding.UTF8.GetString(File.ReadAllBytes($"/proc/{pid}/cmdline")).TrimEnd('\0').Split('\0');
}
