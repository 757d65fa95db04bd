using System.Globalization;
using System.Text;
using Kuasar.Vmm.ApiServers.Guests;

namespace Kuasar.Vmm.Conformance.Tests.Bench;

/// <summary>An API server of ours in the hypervisor's place; the guest behind is one of its own.</summary>
internal sealed class ApiServerBench(Hypervisor hypervisor, VmExitReason panic, VmExitReason powerOff) : DriverBench
{
    /// <summary>The program that stands for all of the hypervisors' programs.</summary>
    internal static string Program { get; } = Path.ChangeExtension(typeof(Guest).Assembly.Location, null);

    public override Hypervisor Hypervisor => hypervisor;

    public override VmExitReason PanicReason => panic;

    public override VmExitReason PowerOffReason => powerOff;

    public override VmConfig Config(string console) => new()
    {
        // The servers only look whether it is there.
        Kernel = Program, CommandLine = "console=ttyS0 quiet", MemoryBytes = 128L << 20, Vsock = new VmVsock(3), ConsoleLog = console,
    };

    public override uint Port => Guest.EchoPort;

    public override async Task EchoAsync(VirtualMachine machine, CancellationToken cancellationToken)
    {
        await using var stream = await machine.ConnectAsync(Guest.EchoPort, BootLimit, cancellationToken);
        await RoundTripAsync(stream, 100_000, cancellationToken);
    }

    /// <summary>Sends and receives at once, as an echo needs it.</summary>
    internal static async Task RoundTripAsync(Stream stream, int length, CancellationToken cancellationToken)
    {
        var sent = new byte[length];
        Random.Shared.NextBytes(sent);
        var received = new byte[length];
        var sending = stream.WriteAsync(sent, cancellationToken).AsTask();
        await stream.ReadExactlyAsync(received, cancellationToken);
        await sending;
        Assert.Equal(sent, received);
    }

    public override Task ListenToAsync(VirtualMachine machine) => EchoAsync(machine, CancellationToken.None);

    public override Task PowerOffAsync(VirtualMachine machine) => CommandAsync(machine, "poweroff");

    public override Task ResetAsync(VirtualMachine machine) => CommandAsync(machine, "reset");

    public override Task PanicAsync(VirtualMachine machine) => CommandAsync(machine, "panic");

    public override Task DeafenAsync(VirtualMachine machine) => CommandAsync(machine, "deaf");

    public override Task RememberAsync(VirtualMachine machine, string text) => CommandAsync(machine, $"set {text}");

    public override Task<string> RecallAsync(VirtualMachine machine) => CommandAsync(machine, "get");

    public override async Task<int> CpusAsync(VirtualMachine machine) => int.Parse(await CommandAsync(machine, "cpus"), CultureInfo.InvariantCulture);

    public override async Task<long?> MemoryAsync(VirtualMachine machine) => long.Parse(await CommandAsync(machine, "memory"), CultureInfo.InvariantCulture);

    internal async Task<string> CommandAsync(VirtualMachine machine, string command)
    {
        using var limit = new CancellationTokenSource(BootLimit);
        await using var stream = await machine.ConnectAsync(Guest.CommandPort, BootLimit, limit.Token);
        await stream.WriteAsync(Encoding.UTF8.GetBytes(command + "\n"), limit.Token);
        using var reader = new StreamReader(stream);
        return await reader.ReadLineAsync(limit.Token) ?? "";
    }
}
