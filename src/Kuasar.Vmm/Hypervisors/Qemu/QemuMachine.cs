using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using Microsoft.Extensions.Logging;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>A machine of QEMU: its process, and vhost-device-vsock and a virtiofsd for each shared folder beside it.</summary>
internal sealed partial class QemuMachine : VirtualMachine
{
    private const string ProbeRole = "kvm-probe", PortsKey = "ports", ResizedKey = "resized", KvmKey = "kvm";

    private readonly QemuOptions _options;
    private readonly KvmProbe _kvm;
    private readonly VmConfig? _config; // null: taken over
    private readonly QmpEvents _events;
    private QmpClient? _qmp;

    internal QemuMachine(string name, VmConfig config, VmCapabilities capabilities, VmEnvironment environment, QemuOptions options, KvmProbe kvm)
        : this(NewRecord(name, config, environment), capabilities, environment, options, kvm)
    {
        _config = config;
        for (var i = 0; i < Record.Devices.Count; i++)
        {
            Record.Devices[i].Slot = i.ToString(CultureInfo.InvariantCulture);
        }
        // Those of the boot are at root ports as well: at the root bus they could not be unplugged.
        Record.Driver[PortsKey] = (Record.Devices.Count + options.HotplugSlots).ToString(CultureInfo.InvariantCulture);
    }

    internal QemuMachine(VmRecord record, VmCapabilities capabilities, VmEnvironment environment, QemuOptions options, KvmProbe kvm)
        : base(record, capabilities, environment)
    {
        (_options, _kvm) = (options, kvm);
        _events = new QmpEvents(() => _ = LookAsync());
        if (record.Driver.TryGetValue(KvmKey, out var kvmUsed))
        {
            _kvm.Learn(bool.Parse(kvmUsed));
        }
    }

    private VmDeviceRecord Entry(string id) => Record.Devices.First(device => device.Id == id);

    private bool IsPci => _options.Machine != QemuMachineType.MicroVm;

    private int Ports => int.Parse(Record.Driver[PortsKey], CultureInfo.InvariantCulture);

    private string MonitorPath => Environment.PathOf("qmp");

    private string LogPath => Environment.PathOf("hypervisor.log");

    private QmpClient Qmp => _qmp ?? throw new VmException(VmError.Ended, "QEMU is not there");

    private protected override async Task BootCoreAsync(CancellationToken cancellationToken)
    {
        // The vcpus wait until events are heard: then no end is without its reason.
        await StartAsync([], cancellationToken).ConfigureAwait(false);
        await AskAsync("cont", null, cancellationToken).ConfigureAwait(false);
    }

    private protected override Task PowerDownCoreAsync(CancellationToken cancellationToken) => AskAsync("system_powerdown", null, cancellationToken);

    private protected override async ValueTask<VmExit> ExitOfAsync(int status)
    {
        if (_qmp is { } qmp)
        {
            // What it said last may not have been read yet.
            await Task.WhenAny(qmp.Closed, Task.Delay(TimeSpan.FromSeconds(1), Environment.TimeProvider)).ConfigureAwait(false);
        }
        var reason = _events.Reason ?? (status == 0 ? VmExitReason.Unknown : ReasonOf(status));
        if (reason == VmExitReason.GuestReset && IsPoweringDown)
        {
            reason = VmExitReason.GuestShutdown;
        }
        var words = _events.Words ?? (reason == VmExitReason.HypervisorFailed ? LastWords(LogPath) : "it has not said why");
        return new VmExit(reason, Environment.TimeProvider.GetUtcNow(), $"QEMU ended with status {status}: {words}");
    }

    private protected override async ValueTask CloseAsync()
    {
        if (_qmp is { } qmp)
        {
            await qmp.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Starts all processes, the daemons first, at the same time, since QEMU connects to them when it starts.</summary>
    private async Task StartAsync(IReadOnlyList<string> more, CancellationToken cancellationToken)
    {
        var config = _config!;
        MakeConsoleLog();
        var console = Environment.PathOf("kvm-probe-console.log");
        var kvm = await _kvm.IsUsedAsync(config.Kernel, console, arguments => ProbeAsync(arguments, cancellationToken), cancellationToken).ConfigureAwait(false);
        if (_options.Accelerator == QemuAccelerator.Automatic)
        {
            Record.Driver[KvmKey] = kvm.ToString();
        }
        var daemons = config.FileSystems.ToDictionary(
            share => share.Id, share => StartVirtiofsAsync(share.Id, share.SharedDirectory, _options.Virtiofsd!, cancellationToken));
        if (config.Vsock is { } vsock)
        {
            daemons.Add(VsockRole, StartVsockDaemonAsync(vsock.ContextId, _options.VhostDeviceVsock!, cancellationToken));
        }
        await Task.WhenAll(daemons.Values).ConfigureAwait(false);
        var sockets = daemons.ToDictionary(pair => pair.Key, pair => pair.Value.Result);
        var arguments = QemuCommandLine.Of(config, Record.Devices, Ports, _options, kvm, MonitorPath, sockets);
        var process = StartProcess(HypervisorRole, _options.Qemu.With(LogPath, [.. arguments, "-S", .. more]));
        await WaitAsync(async () => await ConnectAsync(cancellationToken).ConfigureAwait(false), process, "QEMU", LogPath, cancellationToken).ConfigureAwait(false);
        foreach (var net in config.Nets.Where(net => net.Tap is not null))
        {
            await PlugAsync(net, Entry(net.Id).Slot, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<bool> ProbeAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        ExpectEnd(ProbeRole);
        var process = StartProcess(ProbeRole, _options.Qemu.With(Environment.PathOf("kvm-probe.log"), arguments));
        var works = false;
        try
        {
            works = await process.Exited.WaitAsync(_options.KvmProbeTimeout, Environment.TimeProvider, cancellationToken).ConfigureAwait(false) == 0;
        }
        catch (TimeoutException)
        {
            // An interpreter.
        }
        finally
        {
            await EndProcessAsync(ProbeRole).ConfigureAwait(false);
            Probed(Logger, works ? "KVM" : "emulation, as none boots with KVM here");
        }
        // A probe that was killed with its machine has shown nothing.
        return State != VmState.Ended ? works : throw new VmException(VmError.Ended, "the machine has ended meanwhile");
    }

    private async Task<bool> ConnectAsync(CancellationToken cancellationToken)
    {
        try
        {
            _qmp = await QmpClient.TryConnectAsync(MonitorPath, _options.CommandTimeout, Environment.TimeProvider, _events.Take, cancellationToken).ConfigureAwait(false);
        }
        catch (VmException e) when (e.Error == VmError.Ended)
        {
            // It listens before it has looked at all of its arguments. Its process tells more.
        }
        return _qmp is not null;
    }

    private Task<JsonNode?> AskAsync(string command, JsonObject? arguments, CancellationToken cancellationToken) =>
        Qmp.ExecuteAsync(command, arguments, cancellationToken);

    private async Task<string> StatusAsync(CancellationToken cancellationToken) =>
        (await AskAsync("query-status", null, cancellationToken).ConfigureAwait(false))?["status"]?.GetValue<string>() ?? "unknown";

    /// <summary>
    /// The vcpus have stopped, and nobody has asked for it: with an internal error (of KVM) QEMU lives on, with a guest that is dead.
    /// </summary>
    private async Task LookAsync()
    {
        try
        {
            var status = await StatusAsync(CancellationToken.None).ConfigureAwait(false);
            if (status is "internal-error" or "io-error")
            {
                Fail($"QEMU's state is {status}");
            }
        }
        catch (VmException)
        {
            // Its process is what is waited for.
        }
    }

    [LoggerMessage(EventId = 703, Level = LogLevel.Information, Message = "Guests run by {Accelerator}")]
    private static partial void Probed(ILogger logger, string accelerator);
}
