using Kuasar.Vmm;
using Kuasar.Vmm.Contracts.Agent;

namespace Kuasar.Docs.Tests.Snippets;

internal static class Microvm
{
    internal static async Task BootAndCallAsync(string programs, string image, string folder, TextWriter output)
    {
        var qemu = new QemuHypervisor(QemuOptions.FromPrefix(programs));
        var config = new VmConfig
        {
            Kernel = Path.Combine(image, "vmlinux"),
            Initrd = Path.Combine(image, "initrd.img"),
            CommandLine = "quiet rdinit=/init task.sharefs_type=none",
            Vsock = new VmVsock(),
            ConsoleLog = Path.Combine(folder, "console.log"),
        };
        await using var machine = qemu.Create(config, new VmEnvironment(folder));
        await using var callHome = machine.EndPoint(AgentClient.CallHomePort).Listen();
        await machine.BootAsync(CancellationToken.None);

        await using var agent = AgentClient.For(machine);
        await agent.WaitReadyAsync(callHome, TimeSpan.FromSeconds(30));
        var kernel = await agent.Sandbox.ExecVMProcessAsync(new ExecVMProcessRequest { Command = "cat /proc/sys/kernel/osrelease" });
        await output.WriteLineAsync($"the guest runs Linux {kernel.Out}");

        var end = await machine.PowerDownAsync(TimeSpan.FromSeconds(10), CancellationToken.None);
        await output.WriteLineAsync($"it has ended: {end.Reason}");
    }
}
