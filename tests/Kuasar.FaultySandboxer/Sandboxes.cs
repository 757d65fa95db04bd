using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Sandbox;

namespace FaultySandboxer;

/// <summary>
/// Sandboxes of one process, whose end is theirs, and a mount; containers by runc. The pod's annotation <c>fault</c> says where it fails:
/// create, start, stop (the first time), dispose; start-slow takes its time, as long as there is a file <c>/run/kuasar-fault-NAME</c>.
/// </summary>
internal sealed class Sandboxes(string runtime) : Sandboxer
{
    public override async Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken)
    {
        var fault = spec.Pod?.Annotations.GetValueOrDefault("fault") ?? "";
        var folder = Directory.CreateDirectory(Path.Combine(spec.WorkDirectory, "shm")).FullName;
        spec.RecordMount(folder);
        using (var mount = Services.Processes.Start("/bin/mount", ["-t", "tmpfs", "-o", "size=64k", "faulty", folder]))
        {
            await mount.Exited;
        }
        if (fault == "create")
        {
            throw new SandboxException(SandboxError.Unavailable, "a fault in create, as was asked for");
        }
        var root = Path.Combine(Services.RunDirectory, "runtime", spec.Instance, spec.Namespace);
        return new FaultySandbox(spec, fault, Services, new OciRuntime(new OciRuntimeOptions { Path = runtime, Root = root }, Services));
    }
}

internal sealed class FaultySandbox(SandboxSpec spec, string fault, SandboxerServices services, OciRuntime runtime) : Sandbox
{
    private HostProcess? _process;
    private bool _stopFailed;

    public override int ProcessId => _process!.ProcessId;

    public override Task<ExitStatus> Exited => _process!.Exited;

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        _process = services.Processes.Start("/bin/sleep", ["1000000"]);
        spec.RecordProcess(_process.ProcessId);
        if (fault == "start")
        {
            throw new SandboxException(SandboxError.Unavailable, "a fault in start, as was asked for");
        }
        while (fault == "start-slow" && File.Exists($"/run/kuasar-fault-{spec.Pod!.Metadata.Name}"))
        {
            await Task.Delay(20, cancellationToken);
        }
    }

    public override async Task<Container> CreateContainerAsync(ContainerSpec container, CancellationToken cancellationToken)
    {
        // containerd has the sandbox's process for the owner of the namespaces.
        foreach (var each in container.Oci.Json["linux"]!["namespaces"]!.AsArray().OfType<JsonObject>())
        {
            if ((string?)each["path"] is { } path && path.StartsWith("/proc/", StringComparison.Ordinal))
            {
                each.Remove("path");
                if ((string?)each["type"] == "network" && spec.NetworkNamespace is { } network)
                {
                    each["path"] = network;
                }
            }
        }
        await File.WriteAllTextAsync(Path.Combine(container.Bundle, "config.json"), container.Oci.Json.ToJsonString(), cancellationToken);
        return new RuncContainer(runtime, container, await runtime.CreateAsync(container, cancellationToken));
    }

    public override async Task StopAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (fault == "stop" && !_stopFailed)
        {
            _stopFailed = true;
            throw new SandboxException(SandboxError.Unknown, "a fault in stop, as was asked for");
        }
        _process!.Signal(15);
        await _process.Exited;
    }

    public override IReadOnlyDictionary<string, string> GetInfo() => new Dictionary<string, string>
    {
        ["info"] = string.Create(CultureInfo.InvariantCulture, $$"""{"pid":{{_process?.ProcessId ?? 0}},"folder":"{{spec.WorkDirectory}}"}"""),
    };

    public override async ValueTask DisposeAsync()
    {
        if (fault == "dispose")
        {
            throw new SandboxException(SandboxError.Unknown, "a fault in dispose, as was asked for");
        }
        // Its mount is the library's to undo, and its process where it never got to a stop.
        _process?.Dispose();
        await base.DisposeAsync();
    }
}

internal sealed class RuncContainer(OciRuntime runtime, ContainerSpec spec, HostProcess init) : Container
{
    public override int ProcessId => init.ProcessId;

    public override Task<ExitStatus> Exited => init.Exited;

    public override Cgroup? Cgroup { get; } = Cgroup.OfProcess(init.ProcessId);

    public override Task StartAsync(CancellationToken cancellationToken) => runtime.StartAsync(spec, cancellationToken);

    public override async Task<ContainerProcess> StartExecAsync(ExecSpec exec, CancellationToken cancellationToken) =>
        await runtime.ExecAsync(spec, exec, cancellationToken);

    public override Task SignalAsync(int signal, CancellationToken cancellationToken) => init.SignalAsync(signal, cancellationToken);

    public override async Task DeleteAsync(CancellationToken cancellationToken)
    {
        await runtime.DeleteAsync(spec, cancellationToken);
        init.Dispose();
    }
}
