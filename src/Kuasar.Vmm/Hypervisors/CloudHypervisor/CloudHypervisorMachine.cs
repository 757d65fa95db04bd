using System.Text.Json.Nodes;
using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors.Rest;

namespace Kuasar.Vmm.Hypervisors;

/// <summary>A machine of Cloud Hypervisor: one process of it, driven by its REST API.</summary>
/// <remarks>
/// A guest's reset: Cloud Hypervisor then makes the machine anew, which begins with reading the kernel. It is given the kernel by a link in the machine's
/// folder that is removed as soon as the guest has booted, so that it fails and the process ends; the event log says why.
/// </remarks>
internal sealed partial class CloudHypervisorMachine : VirtualMachine
{
    private const string Root = "/api/v1";

    /// <summary>The guest has to give a device back; then the hypervisor removes it.</summary>
    private static readonly TimeSpan s_ejectLimit = TimeSpan.FromSeconds(10), s_ejectPoll = TimeSpan.FromMilliseconds(20), s_bootLimit = TimeSpan.FromSeconds(30);

    private readonly CloudHypervisorOptions _options;
    private readonly VmConfig? _config; // null: taken over
    private readonly ApiClient _api;

    internal CloudHypervisorMachine(string name, VmConfig config, VmCapabilities capabilities, VmEnvironment environment, CloudHypervisorOptions options)
        : this(NewRecord(name, config, environment), capabilities, environment, options) => _config = config;

    internal CloudHypervisorMachine(VmRecord record, VmCapabilities capabilities, VmEnvironment environment, CloudHypervisorOptions options)
        : base(record, capabilities, environment)
    {
        _options = options;
        _api = new ApiClient("Cloud Hypervisor", environment.PathOf("api"), environment.TimeProvider);
    }

    private string KernelPath => Environment.PathOf("kernel");

    private string EventsPath => Environment.PathOf("events.json");

    private string LogPath => Environment.PathOf("hypervisor.log");

    private protected override async Task BootCoreAsync(CancellationToken cancellationToken)
    {
        var config = _config!;
        Libc.TryRemoveFile(KernelPath);
        File.CreateSymbolicLink(KernelPath, config.Kernel);
        var sockets = new Dictionary<string, string>();
        foreach (var share in config.FileSystems)
        {
            sockets[share.Id] = await StartVirtiofsAsync(share.Id, share.SharedDirectory, _options.Virtiofsd!, cancellationToken).ConfigureAwait(false);
        }
        await StartAsync(cancellationToken).ConfigureAwait(false);
        var body = CloudHypervisorConfig.Machine(config, KernelPath, VsockPath, sockets, shared: _options.Virtiofsd is not null);
        await PutAsync("vm.create", body, cancellationToken).ConfigureAwait(false);
        foreach (var net in config.Nets.Where(net => net.Tap is not null))
        {
            await AddNetAsync(net, cancellationToken).ConfigureAwait(false);
        }
        await PutAsync("vm.boot", null, cancellationToken, s_bootLimit).ConfigureAwait(false);
        Libc.TryRemoveFile(KernelPath);
    }

    private protected override async Task RestoreCoreAsync(string directory, CancellationToken cancellationToken)
    {
        var config = _config!;
        RequireSaveable();
        var view = Environment.PathOf("restore");
        // The kernel's link is never made: the guest has it in its memory.
        SnapshotView.Create(directory, view, config, KernelPath, VsockPath);
        await StartAsync(cancellationToken).ConfigureAwait(false);
        await PutAsync("vm.restore", new JsonObject { ["source_url"] = $"file://{view}", ["resume"] = false }, cancellationToken, ApiClient.MemoryTimeout)
            .ConfigureAwait(false);
        // All of it has been read.
        Directory.Delete(view, recursive: true);
    }

    private protected override Task PauseCoreAsync(CancellationToken cancellationToken) => PutAsync("vm.pause", null, cancellationToken);

    private protected override Task ResumeCoreAsync(CancellationToken cancellationToken) => PutAsync("vm.resume", null, cancellationToken);

    private protected override Task SnapshotCoreAsync(string directory, CancellationToken cancellationToken)
    {
        RequireSaveable();
        return PutAsync("vm.snapshot", new JsonObject { ["destination_url"] = $"file://{directory}" }, cancellationToken, ApiClient.MemoryTimeout);
    }

    private protected override Task ResizeCoreAsync(int? vcpus, long? memoryBytes, CancellationToken cancellationToken)
    {
        var size = new JsonObject();
        if (vcpus is { } count)
        {
            size["desired_vcpus"] = count;
        }
        if (memoryBytes is { } bytes)
        {
            size["desired_ram"] = bytes;
        }
        return PutAsync("vm.resize", size, cancellationToken);
    }

    private protected override Task PowerDownCoreAsync(CancellationToken cancellationToken) => PutAsync("vm.power-button", null, cancellationToken);

    private protected override ValueTask<VmExit> ExitOfAsync(int status)
    {
        var last = LastEvent.None;
        try
        {
            last = EventLog.Read(EventsPath);
        }
        catch (IOException)
        {
            // Then the status has to do.
        }
        var reason = last switch
        {
            LastEvent.Panic => VmExitReason.GuestPanic,
            LastEvent.Reset => VmExitReason.GuestReset,
            LastEvent.Shutdown => VmExitReason.GuestShutdown,
            _ => ReasonOf(status),
        };
        var detail = $"cloud-hypervisor ended with status {status}";
        return ValueTask.FromResult(new VmExit(
            reason, Environment.TimeProvider.GetUtcNow(), reason == VmExitReason.HypervisorFailed ? $"{detail}: {LastWords(LogPath)}" : detail));
    }

    private protected override ValueTask CloseAsync()
    {
        if (State == VmState.Ended)
        {
            Libc.TryRemoveFile(KernelPath);
            Libc.TryRemoveFile(EventsPath);
        }
        return ValueTask.CompletedTask;
    }

    private async Task StartAsync(CancellationToken cancellationToken)
    {
        MakeConsoleLog();
        string[] arguments = ["--api-socket", $"path={_api.SocketPath}", "--event-monitor", $"path={EventsPath}"];
        var process = StartProcess(HypervisorRole, _options.CloudHypervisor.With(LogPath, arguments));
        await WaitAsync(() => _api.AnswersAsync($"{Root}/vmm.ping", cancellationToken), process, "cloud-hypervisor", LogPath, cancellationToken).ConfigureAwait(false);
    }

    private Task<JsonObject?> PutAsync(string action, JsonObject? body, CancellationToken cancellationToken, TimeSpan? timeout = null) =>
        _api.CallAsync(HttpMethod.Put, $"{Root}/{action}", body, cancellationToken, timeout);

    // A virtiofsd cannot be saved, and a tap that was handed over cannot be named.
    private void RequireSaveable()
    {
        foreach (var device in Record.Devices)
        {
            if (device.FileSystem is not null || device.Net is { TapName: "" })
            {
                throw new VmException(VmError.Unsupported, $"a machine with {device.Id} cannot be saved or restored: it is a shared folder, or an open tap");
            }
        }
    }
}
