using System.Text.Json.Nodes;
using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors.Rest;

namespace Kuasar.Vmm.Hypervisors;

/// <summary>A machine of Firecracker: one process of it, driven by its REST API.</summary>
internal sealed partial class FirecrackerMachine : VirtualMachine
{
    private static readonly TimeSpan s_bootLimit = TimeSpan.FromSeconds(30);

    private readonly FirecrackerOptions _options;
    private readonly VmConfig? _config; // null: taken over
    private readonly ApiClient _api;

    internal FirecrackerMachine(string name, VmConfig config, VmCapabilities capabilities, VmEnvironment environment, FirecrackerOptions options)
        : this(NewRecord(name, config, environment), capabilities, environment, options) => _config = config;

    internal FirecrackerMachine(VmRecord record, VmCapabilities capabilities, VmEnvironment environment, FirecrackerOptions options)
        : base(record, capabilities, environment)
    {
        _options = options;
        _api = new ApiClient("Firecracker", environment.PathOf("api"), environment.TimeProvider);
    }

    private string LogPath => Environment.PathOf("hypervisor.log");

    private protected override async Task BootCoreAsync(CancellationToken cancellationToken)
    {
        await StartAsync(cancellationToken).ConfigureAwait(false);
        foreach (var (path, body) in FirecrackerConfig.Machine(_config!, VsockPath, _options.EnablePci))
        {
            await _api.CallAsync(HttpMethod.Put, path, body, cancellationToken).ConfigureAwait(false);
        }
        await ActAsync("InstanceStart", cancellationToken).ConfigureAwait(false);
    }

    private protected override async Task RestoreCoreAsync(string directory, CancellationToken cancellationToken)
    {
        var (state, memory) = SnapshotFiles(directory);
        VmConfig.RequireFile("snapshot's file", state);
        VmConfig.RequireFile("snapshot's file", memory);
        await StartAsync(cancellationToken).ConfigureAwait(false);
        var body = new JsonObject
        {
            ["snapshot_path"] = state,
            ["mem_backend"] = new JsonObject { ["backend_type"] = "File", ["backend_path"] = memory },
            ["resume_vm"] = false,
            ["network_overrides"] = new JsonArray([.. _config!.Nets.Select(net =>
                new JsonObject { ["iface_id"] = FirecrackerConfig.IdOf(net.Id), ["host_dev_name"] = net.TapName })]),
        };
        if (_config.Vsock is not null)
        {
            body["vsock_override"] = new JsonObject { ["uds_path"] = VsockPath };
        }
        await _api.CallAsync(HttpMethod.Put, "/snapshot/load", body, cancellationToken, ApiClient.MemoryTimeout).ConfigureAwait(false);
    }

    private protected override Task PauseCoreAsync(CancellationToken cancellationToken) => SetStateAsync("Paused", cancellationToken);

    private protected override Task ResumeCoreAsync(CancellationToken cancellationToken) => SetStateAsync("Resumed", cancellationToken);

    private protected override Task SnapshotCoreAsync(string directory, CancellationToken cancellationToken)
    {
        var (state, memory) = SnapshotFiles(directory);
        var body = new JsonObject { ["snapshot_type"] = "Full", ["snapshot_path"] = state, ["mem_file_path"] = memory };
        return _api.CallAsync(HttpMethod.Put, "/snapshot/create", body, cancellationToken, ApiClient.MemoryTimeout);
    }

    /// <summary>The guest's own reaction to three keys; there is no power button.</summary>
    private protected override Task PowerDownCoreAsync(CancellationToken cancellationToken) => ActAsync("SendCtrlAltDel", cancellationToken);

    // 0 is the guest's reset, by which it powers off as well; all else is Firecracker's own.
    private protected override ValueTask<VmExit> ExitOfAsync(int status)
    {
        var reason = status != 0 ? ReasonOf(status) : IsPoweringDown ? VmExitReason.GuestShutdown : VmExitReason.GuestReset;
        var detail = $"firecracker ended with status {status}";
        return ValueTask.FromResult(new VmExit(reason, Environment.TimeProvider.GetUtcNow(), status == 0 ? detail : $"{detail}: {LastWords(LogPath)}"));
    }

    private protected override ValueTask CloseAsync() => ValueTask.CompletedTask;

    private async Task StartAsync(CancellationToken cancellationToken)
    {
        MakeConsoleLog();
        string[] pci = _options.EnablePci ? ["--enable-pci"] : [];
        var process = StartProcess(HypervisorRole, _options.Firecracker.With(LogPath, ["--api-sock", _api.SocketPath, .. pci]));
        await WaitAsync(() => _api.AnswersAsync("/", cancellationToken), process, "firecracker", LogPath, cancellationToken).ConfigureAwait(false);
        if (Record.ConsoleLog.Length > 0)
        {
            var (path, body) = FirecrackerConfig.Serial(Record.ConsoleLog);
            await _api.CallAsync(HttpMethod.Put, path, body, cancellationToken).ConfigureAwait(false);
        }
    }

    private Task<JsonObject?> ActAsync(string action, CancellationToken cancellationToken) =>
        _api.CallAsync(HttpMethod.Put, "/actions", new JsonObject { ["action_type"] = action }, cancellationToken, s_bootLimit);

    private Task<JsonObject?> SetStateAsync(string state, CancellationToken cancellationToken) =>
        _api.CallAsync(HttpMethod.Patch, "/vm", new JsonObject { ["state"] = state }, cancellationToken);

    private static (string State, string Memory) SnapshotFiles(string directory) => (Path.Combine(directory, "state"), Path.Combine(directory, "memory"));
}
