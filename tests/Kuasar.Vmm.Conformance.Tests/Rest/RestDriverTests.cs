using System.IO.Pipes;
using System.Text;
using Kuasar.Vmm.ApiServers.Guests;
using Kuasar.Vmm.Conformance.Tests.Bench;
using Kuasar.Vmm.Conformance.Tests.Drivers;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Conformance.Tests.Rest;

/// <summary>What only an API server of ours can be made to do, and what is peculiar to the two drivers.</summary>
public sealed class RestDriverTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(1));
    private VmRecord? _saved;

    private CancellationToken Limit => _limit.Token;

    public void Dispose()
    {
        _scratch.Dispose();
        _limit.Dispose();
    }

    [Theory]
    [InlineData("cloud-hypervisor")]
    [InlineData("firecracker")]
    public async Task A_hypervisor_that_does_not_answer_is_given_up_and_can_be_killed(string name)
    {
        var bench = Bench(name);
        var clock = new FastClock();
        await using var machine = await BootAsync(bench, clock);
        await bench.CommandAsync(machine, "hang");
        clock.Times = 20;
        var failure = await Assert.ThrowsAsync<VmException>(() => machine.PauseAsync(Limit));
        Assert.Equal(VmError.TimedOut, failure.Error);
        Assert.Contains("within 10 s", failure.Message, StringComparison.Ordinal);
        // The pause is not known to have happened: dials go on.
        await bench.EchoAsync(machine, Limit);
        Assert.Equal(VmExitReason.Killed, (await machine.KillAsync()).Reason);
    }

    [Theory]
    [InlineData("cloud-hypervisor")]
    [InlineData("firecracker")]
    public async Task A_hypervisor_that_crashes_ends_the_machine_with_its_last_words(string name)
    {
        var bench = Bench(name);
        await using var machine = await BootAsync(bench);
        await bench.CommandAsync(machine, "abort");
        var exit = await machine.Exited.WaitAsync(TimeSpan.FromSeconds(2));
        Assert.Equal(VmExitReason.HypervisorFailed, exit.Reason);
        Assert.Contains("status 134", exit.Detail, StringComparison.Ordinal);
        Assert.Contains("-> 204", exit.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("cloud-hypervisor", "poweroff", VmExitReason.GuestShutdown)]
    [InlineData("cloud-hypervisor", "reset", VmExitReason.GuestReset)]
    [InlineData("cloud-hypervisor", "panic", VmExitReason.GuestPanic)]
    public async Task What_happened_while_no_manager_was_there_is_read_from_the_event_log(string name, string command, VmExitReason reason)
    {
        var bench = Bench(name);
        var machine = await BootAsync(bench);
        var commands = machine.EndPoint(Guest.CommandPort);
        await machine.DisposeAsync();
        await using (var stream = await commands.ConnectAsync(TimeSpan.FromSeconds(5), Limit))
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes(command + "\n"), Limit);
            while (_scratch.Processes().Count > 0)
            {
                await Task.Delay(20, Limit);
            }
        }
        await using var found = await bench.Hypervisor.RecoverAsync(_saved!, Environment(), Limit);
        Assert.Equal(reason, (await found.Exited.WaitAsync(TimeSpan.FromSeconds(2))).Reason);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_open_tap_is_handed_to_Cloud_Hypervisor(bool hotplug)
    {
        var bench = Bench("cloud-hypervisor");
        // In a tap's place: something that tells whether its other end has been reached.
        await using var reader = new AnonymousPipeServerStream(PipeDirection.In);
        using var tap = new Microsoft.Win32.SafeHandles.SafeFileHandle(reader.ClientSafePipeHandle.DangerousGetHandle(), ownsHandle: false);
        var net = new VmNet("eth0", "02:00:00:00:00:01") { Tap = tap };
        await using var machine = await BootAsync(bench, config: hotplug ? null : bench.Config(_scratch.Path("console")) with { Nets = [net] });
        if (hotplug)
        {
            await machine.AddDeviceAsync(net, Limit);
        }
        reader.DisposeLocalCopyOfClientHandle();
        using var text = new StreamReader(reader);
        Assert.Equal("a frame of the guest's", await text.ReadLineAsync(Limit));
        await machine.KillAsync();
    }

    [Fact]
    public async Task A_tap_of_a_name_is_asked_for_by_it()
    {
        foreach (var name in new[] { "cloud-hypervisor", "firecracker" })
        {
            var bench = Bench(name);
            var config = bench.Config(_scratch.Path("console")) with { Nets = [new VmNet("eth-0", "02:00:00:00:00:01") { TapName = "tap_kua_2" }] };
            await using var machine = await BootAsync(bench, config: config, folder: name);
            await machine.KillAsync();
            Assert.Contains("\"tap_kua_2\"", await File.ReadAllTextAsync(Path.Combine(machine.Record.WorkDirectory, "hypervisor.log"), Limit), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_program_that_is_not_there_is_named()
    {
        var hypervisor = new Firecracker(new FirecrackerOptions { Firecracker = "/no/firecracker" });
        var failure = await Assert.ThrowsAsync<VmException>(() =>
            Task.FromResult(hypervisor.Create(Bench("firecracker").Config(_scratch.Path("console")), Environment())));
        Assert.Contains("/no/firecracker", failure.Message, StringComparison.Ordinal);
    }

    private static ApiServerBench Bench(string name) => name == "firecracker" ? Benches.Firecracker(pci: false) : Benches.CloudHypervisor();

    private VmEnvironment Environment(TimeProvider? clock = null, string folder = "vm") =>
        new(_scratch.Path(folder)) { TimeProvider = clock ?? TimeProvider.System, Save = record => _saved = record.Clone() };

    private async Task<VirtualMachine> BootAsync(ApiServerBench bench, TimeProvider? clock = null, VmConfig? config = null, string folder = "vm")
    {
        var machine = bench.Hypervisor.Create(config ?? bench.Config(_scratch.Path("console")), Environment(clock, folder));
        await machine.BootAsync(Limit);
        return machine;
    }
}
