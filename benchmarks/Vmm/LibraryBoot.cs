using System.Diagnostics;
using System.Text;
using Kuasar.Vmm;

namespace Vmm;

/// <summary>A guest booted by the library, always in the same folder, so that its command lines are those of the last.</summary>
internal sealed class LibraryBoot(Hypervisor hypervisor, string image, string folder)
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);

    /// <summary>Of the last guest: each daemon's and QEMU's, in the order in which they were started.</summary>
    internal IReadOnlyList<(string Role, string[] Arguments)> CommandLines { get; private set; } = [];

    /// <summary>How long it takes from nothing to the start of the vcpus, to the guest's call, and to a pod that is set up.</summary>
    internal async Task<(TimeSpan Booted, TimeSpan Ready, TimeSpan SetUp)> RunAsync(CancellationToken cancellationToken)
    {
        var share = Directory.CreateDirectory(Path.Combine(folder, "share")).FullName;
        var console = Path.Combine(folder, "console.log");
        File.Delete(console);
        var start = Stopwatch.GetTimestamp();
        await using var machine = hypervisor.Create(
            new VmConfig
            {
                Kernel = Path.Combine(image, "vmlinux"),
                Initrd = Path.Combine(image, "initrd.img"),
                CommandLine = "quiet",
                FileSystems = [new VmFileSystem("share", "kuasar", share)],
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
            var ready = Stopwatch.GetElapsedTime(start);
            await agent.SetupSandboxAsync("{}"u8.ToArray(), GuestNetwork.None, cancellationToken);
            var setUp = Stopwatch.GetElapsedTime(start);
            CommandLines = [.. machine.Record.Processes.Select(process => (process.Role, ArgumentsOf(process.Process.Pid)))];
            return (booted, ready, setUp);
        }
        finally
        {
            await machine.KillAsync();
        }
    }

    private static string[] ArgumentsOf(int pid) => Encoding.UTF8.GetString(File.ReadAllBytes($"/proc/{pid}/cmdline")).TrimEnd('\0').Split('\0');
}
