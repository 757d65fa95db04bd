using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Linux;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>A machine of QEMU's.</summary>
internal sealed partial class QemuMachine : VirtualMachine
{
    private const string SlotsKey = "slots";

    private static readonly TimeSpan s_lastWords = TimeSpan.FromMilliseconds(300);

    private readonly VmConfig? _config;
    private readonly QemuHypervisor _hypervisor;
    private readonly QemuOptions _options;
    private QmpClient? _qmp;

    internal QemuMachine(QemuHypervisor hypervisor, VmRecord record, VmConfig? config, VmEnvironment environment)
        : base(record, hypervisor.Capabilities, environment)
    {
        _hypervisor = hypervisor;
        _options = hypervisor.Options;
        _config = config;
        if (config is not null)
        {
            var slots = _options.Machine == QemuMachineType.MicroVm ? 0 : _options.HotplugSlots + config.Nets.Count(net => net.Tap is not null);
            record.Driver[SlotsKey] = slots.ToString(CultureInfo.InvariantCulture);
        }
    }

    private string LogPath => Environment.PathOf("qemu.log");

    private string QmpPath => Environment.PathOf("qmp");

    private QmpClient Qmp => _qmp ?? throw new VmException(VmError.WrongState, "QEMU has not been started");

    private protected override Task BootCoreAsync(CancellationToken cancellationToken) => StartAsync(null, cancellationToken);

    private protected override async Task RestoreCoreAsync(string directory, CancellationToken cancellationToken)
    {
        await StartAsync("file:" + StateFile(directory), cancellationToken).ConfigureAwait(false);
        while (await StatusAsync(cancellationToken).ConfigureAwait(false) == "inmigrate")
        {
            await Task.Delay(TimeSpan.FromMilliseconds(10), Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task StartAsync(string? incoming, CancellationToken cancellationToken)
    {
        var config = _config!;
        var kvm = await _hypervisor.UsesKvmAsync(config, Environment, cancellationToken).ConfigureAwait(false);
        var daemons = config.FileSystems.ToDictionary(
            fileSystem => fileSystem.Id, fileSystem => StartVirtiofsAsync(fileSystem.Id, fileSystem.SharedDirectory, _options.Virtiofsd, cancellationToken));
        if (config.Vsock is { } vsock)
        {
            daemons.Add(VsockRole, StartVsockDaemonAsync(vsock.ContextId, _options.VhostDeviceVsock, cancellationToken));
        }
        await Task.WhenAll(daemons.Values).ConfigureAwait(false);
        MakeConsoleLog();
        var slots = int.Parse(Record.Driver[SlotsKey], CultureInfo.InvariantCulture);
        var arguments = QemuCommandLine.Build(config, _options, kvm, slots, QmpPath, role => daemons[role].Result, incoming);
        var process = StartProcess(HypervisorRole, _options.Qemu.With(LogPath, arguments));
        await ConnectAsync(process, cancellationToken).ConfigureAwait(false);
        foreach (var net in config.Nets.Where(net => net.Tap is not null))
        {
            await PlugAsync(net, cancellationToken).ConfigureAwait(false);
        }
        if (incoming is null)
        {
            await Qmp.ExecuteAsync("cont", null, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Until QEMU answers, or has ended: then with what it has said.</summary>
    private async Task ConnectAsync(VmProcess process, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.StartTimeout);
        _ = process.Exited.ContinueWith(_ => limit.Cancel(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        try
        {
            _qmp = await QmpClient.ConnectAsync(QmpPath, _options.CommandTimeout, Environment.TimeProvider, OnEvent, limit.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or VmException or TimeoutException && !cancellationToken.IsCancellationRequested)
        {
            var ended = process.Exited.IsCompletedSuccessfully;
            throw new VmException(
                ended ? VmError.Ended : VmError.TimedOut,
                (ended ? $"QEMU ended with status {process.Exited.Result}: " : "QEMU does not answer: ") + LastWords(LogPath), e);
        }
    }

    /// <inheritdoc cref="VirtualMachine.TakeOverAsync"/>
    internal Task RecoverAsync(CancellationToken cancellationToken) => TakeOverAsync(SettleAsync, cancellationToken);

    private async Task SettleAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.CommandTimeout);
        _ = Exited.ContinueWith(_ => limit.Cancel(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        try
        {
            _qmp = await QmpClient.ConnectAsync(QmpPath, _options.CommandTimeout, Environment.TimeProvider, OnEvent, limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new VmException(VmError.Ended, $"QEMU does not answer at {QmpPath}", e);
        }
        switch (await StatusAsync(cancellationToken).ConfigureAwait(false), State)
        {
            case ("internal-error", _):
                Fail("QEMU's state is internal-error");
                return;
            // An earlier manager died between an act and its note.
            case ("running", VmState.Paused):
                await PauseCoreAsync(cancellationToken).ConfigureAwait(false);
                break;
            case (not "running", VmState.Running):
                await ResumeCoreAsync(cancellationToken).ConfigureAwait(false);
                break;
        }
        await FinishChangesAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task<string> StatusAsync(CancellationToken cancellationToken) =>
        (await Qmp.ExecuteAsync("query-status", null, cancellationToken).ConfigureAwait(false))?["status"]?.GetValue<string>() ?? "";

    private protected override Task PauseCoreAsync(CancellationToken cancellationToken) => Qmp.ExecuteAsync("stop", null, cancellationToken);

    private protected override Task ResumeCoreAsync(CancellationToken cancellationToken) => Qmp.ExecuteAsync("cont", null, cancellationToken);

    private protected override Task PowerDownCoreAsync(CancellationToken cancellationToken) => Qmp.ExecuteAsync("system_powerdown", null, cancellationToken);

    private protected override async Task SnapshotCoreAsync(string directory, CancellationToken cancellationToken)
    {
        if (Record.ContextId != 0 || Record.Devices.Any(device => device.FileSystem is not null))
        {
            throw new VmException(VmError.Unsupported, "QEMU cannot save a machine with vsock or shared folders: their daemons keep a part of its state");
        }
        await Qmp.ExecuteAsync("migrate", new JsonObject { ["uri"] = "file:" + StateFile(directory) }, cancellationToken).ConfigureAwait(false);
        while (true)
        {
            var migration = await Qmp.ExecuteAsync("query-migrate", null, cancellationToken).ConfigureAwait(false);
            switch (migration?["status"]?.GetValue<string>())
            {
                case "completed":
                    return;
                case "failed" or "cancelled":
                    throw new VmException(VmError.Refused, $"QEMU: {migration["error-desc"]?.GetValue<string>() ?? "the snapshot failed"}");
            }
            await Task.Delay(TimeSpan.FromMilliseconds(20), Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }

    private static string StateFile(string directory) => Path.Combine(directory, "state");

    private protected override async ValueTask CloseAsync()
    {
        if (_qmp is { } qmp)
        {
            await qmp.DisposeAsync().ConfigureAwait(false);
        }
    }
}
