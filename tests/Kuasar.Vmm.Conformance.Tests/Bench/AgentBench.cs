using System.Globalization;
using Grpc.Core;
using Kuasar.Vmm.Contracts.Agent;

namespace Kuasar.Vmm.Conformance.Tests.Bench;

/// <summary>Real guests: the image of eng/guest-image.sh, whose agent runs what the tests want of them.</summary>
internal sealed class AgentBench(Hypervisor hypervisor) : DriverBench
{
    internal static string Image => System.Environment.GetEnvironmentVariable("KUASAR_GUEST") ?? Repository.Path("artifacts/vmm/guest");

    public override Hypervisor Hypervisor => hypervisor;

    public override VmExitReason PowerOffReason { get; } = hypervisor is Firecracker ? VmExitReason.GuestReset : VmExitReason.GuestShutdown;

    public override VmExitReason PanicReason { get; } = hypervisor is Firecracker ? VmExitReason.GuestReset : VmExitReason.GuestPanic;

    public override TimeSpan BootLimit => TimeSpan.FromSeconds(60);

    // QEMU's vsock is a daemon's, which cannot be saved.
    public override bool CanSave => hypervisor is not QemuHypervisor;

    public override VmConfig Config(string console) => new()
    {
        Kernel = Path.Combine(Image, "vmlinux"),
        Initrd = Path.Combine(Image, "initrd.img"),
        CommandLine = "console=ttyS0 loglevel=6 panic=-1 rdinit=/init mitigations=off task.sharefs_type=none",
        Vsock = new VmVsock(3),
        ConsoleLog = console,
    };

    public override async Task EchoAsync(VirtualMachine machine, CancellationToken cancellationToken)
    {
        await using var agent = Agent(machine);
        await agent.CheckAsync(cancellationToken);
    }

    // One answer after the other; dials are not what this is about.
    public override async Task ListenToAsync(VirtualMachine machine)
    {
        await using var agent = Agent(machine);
        for (var i = 0; i < 4; i++)
        {
            var answer = await agent.Sandbox.ExecVMProcessAsync(
                new ExecVMProcessRequest { Command = "busybox seq 100000 120000" }, deadline: DateTime.UtcNow.AddSeconds(20));
            Assert.Equal(20_001 * 7, answer.Out.Length);
        }
    }

    // reboot=k makes a guest's power-off of Firecracker a reset; busybox asks the kernel without asking pid 1.
    public override Task PowerOffAsync(VirtualMachine machine) =>
        LastCommandAsync(machine, hypervisor is Firecracker ? "busybox reboot -f" : "busybox poweroff -f");

    public override Task ResetAsync(VirtualMachine machine) => LastCommandAsync(machine, "busybox reboot -f");

    public override Task PanicAsync(VirtualMachine machine) => LastCommandAsync(machine, "echo c >/proc/sysrq-trigger");

    public override Task DeafenAsync(VirtualMachine machine) =>
        RunAsync(machine, "cd /sys/bus/acpi/drivers/button && for d in *:*; do echo $d >unbind; done");

    public override Task RememberAsync(VirtualMachine machine, string text) => RunAsync(machine, $"echo '{text}' >/run/memory");

    public override Task<string> RecallAsync(VirtualMachine machine) => RunAsync(machine, "cat /run/memory");

    public override async Task<int> CpusAsync(VirtualMachine machine) => int.Parse(
        await RunAsync(machine, "for c in /sys/devices/system/cpu/cpu[1-9]*/online; do echo 1 >$c; done 2>/dev/null; busybox grep -c ^processor /proc/cpuinfo"),
        CultureInfo.InvariantCulture);

    // MemTotal leaves out what the kernel keeps for itself.
    public override Task<long?> MemoryAsync(VirtualMachine machine) => Task.FromResult<long?>(null);

    private static AgentClient Agent(VirtualMachine machine) => AgentClient.For(machine);

    private static async Task<string> RunAsync(VirtualMachine machine, string command)
    {
        await using var agent = Agent(machine);
        var answer = await agent.Sandbox.ExecVMProcessAsync(new ExecVMProcessRequest { Command = command }, deadline: DateTime.UtcNow.AddSeconds(20));
        return answer.Out.TrimEnd();
    }

    // There may be nobody left to answer.
    private static async Task LastCommandAsync(VirtualMachine machine, string command)
    {
        try
        {
            await RunAsync(machine, command);
        }
        catch (RpcException)
        {
        }
    }
}
