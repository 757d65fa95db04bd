using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Protocol.Contracts.RuntimeSandbox;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using ControlClient = Kuasar.Protocol.Contracts.Control.Control.ControlClient;
using SandboxClient = Kuasar.Protocol.Contracts.RuntimeSandbox.Sandbox.SandboxClient;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;
using SystemTask = System.Threading.Tasks.Task;
using TaskClient = Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient;

namespace Kuasar.Sandbox.Tests.Sandboxes;

/// <summary>A whole host with a test's sandboxer, and a containerd that calls it as its shim controller does: over ttrpc.</summary>
internal sealed class SandboxBed : IAsyncDisposable
{
    internal const string Namespace = "k8s.io";

    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar-sb-").FullName;
    private readonly TimeProvider _time;
    private SandboxerHost? _host;
    private TtrpcClient _control = null!;
    private TtrpcClient _endpoint = null!;

    private SandboxBed(TimeProvider? time)
    {
        _time = time ?? TimeProvider.System;
        Containerd = new FakeContainerd(PathOf("c.sock.ttrpc"));
        Paths = new DomainPaths(PathOf("run"));
    }

    internal TestSandboxer Sandboxer { get; private set; } = new();

    /// <summary>Makes the sandboxer of the next life, where it is to be another than <see cref="Sandboxer"/>.</summary>
    internal Func<Sandboxer>? Author { get; set; }

    /// <summary>What each life logs.</summary>
    internal ILoggerFactory Loggers { get; set; } = NullLoggerFactory.Instance;

    internal FakeContainerd Containerd { get; }

    internal DomainPaths Paths { get; }

    internal SandboxClient Sandboxes { get; private set; } = null!;

    internal TaskClient Tasks { get; private set; } = null!;

    internal ControlClient Control { get; private set; } = null!;

    internal string ContainerdAddress => PathOf("c.sock");

    internal static async Task<SandboxBed> StartAsync(TimeProvider? time = null, Func<SandboxBed, Sandboxer>? author = null)
    {
        var bed = new SandboxBed(time);
        bed.Author = author is null ? null : () => author(bed);
        bed.Containerd.Start();
        await bed.BeginAsync();
        return bed;
    }

    /// <summary>One without a sandboxer yet.</summary>
    internal static SandboxBed Make() => new(null);

    /// <summary>Another life of the sandboxer. Nothing of the first is ended: it is as if it had been killed.</summary>
    /// <param name="between">What happens while there is none.</param>
    internal async SystemTask RestartAsync(Action? between = null)
    {
        await EndAsync();
        between?.Invoke();
        Sandboxer = new TestSandboxer();
        await BeginAsync();
    }

    internal async SystemTask BeginAsync()
    {
        _host = new SandboxerHost(Author?.Invoke() ?? Sandboxer, new SandboxerOptions
        {
            Name = "test", RunDirectory = Paths.Run, LoggerFactory = Loggers, TimeProvider = _time, TrimMemoryWhenIdle = false,
        });
        await _host.StartAsync();
        await ConnectAsync();
    }

    /// <summary>To the sandboxer that serves the run directory, whoever's process it is.</summary>
    internal async SystemTask ConnectAsync()
    {
        _control = await TtrpcClient.ConnectAsync(Paths.ControlSocket);
        Control = new ControlClient(_control);
        var resolved = await Control.ResolveAsync(new ResolveRequest { Containerd = Instance, Namespace = Namespace, Id = "x" });
        _endpoint = await TtrpcClient.ConnectAsync(resolved.Address["unix://".Length..]);
        Sandboxes = new SandboxClient(_endpoint);
        Tasks = new TaskClient(_endpoint);
    }

    internal async SystemTask DisconnectAsync()
    {
        await _endpoint.DisposeAsync();
        await _control.DisposeAsync();
    }

    private async SystemTask EndAsync()
    {
        await DisconnectAsync();
        await _host!.DisposeAsync();
    }

    internal ContainerdInstance Instance => new() { GrpcAddress = ContainerdAddress, TtrpcAddress = Containerd.Socket, Version = "2.1.9" };

    internal string PathOf(string name) => Path.Combine(_folder, name);

    internal string FolderOf(string id) => Paths.SandboxFolder(ContainerdAddress, Namespace, id);

    internal static Any Options(string name = "pod") =>
        TypeUrl.Pack(new PodSandboxConfig { Hostname = name, Metadata = new PodSandboxMetadata { Name = name } });

    internal async SystemTask CreateAsync(string id = "pod", Any? options = null) => await Sandboxes.CreateSandboxAsync(new CreateSandboxRequest
    {
        SandboxId = id, BundlePath = MakeBundle(id), Options = options ?? Options(), NetnsPath = "/run/netns/cni-1",
    }).ResponseAsync.InTime();

    internal async SystemTask StartAsync(string id) =>
        await Sandboxes.StartSandboxAsync(new StartSandboxRequest { SandboxId = id }).ResponseAsync.InTime();

    /// <summary>One that is ready.</summary>
    internal async SystemTask RunAsync(string id = "pod")
    {
        await CreateAsync(id);
        await StartAsync(id);
    }

    internal Task<StopSandboxResponse> StopAsync(string id = "pod", uint timeout = 0) =>
        Sandboxes.StopSandboxAsync(new StopSandboxRequest { SandboxId = id, TimeoutSecs = timeout }).ResponseAsync.InTime();

    internal Task<WaitSandboxResponse> WaitAsync(string id = "pod") =>
        Sandboxes.WaitSandboxAsync(new WaitSandboxRequest { SandboxId = id }).ResponseAsync.InTime();

    /// <summary>The answer of a Wait that the sandbox has: the call after it on the connection has been answered.</summary>
    internal async Task<Task<WaitSandboxResponse>> BeginWaitAsync(string id = "pod")
    {
        var wait = WaitAsync(id);
        await StatusAsync(id);
        return wait;
    }

    internal Task<ShutdownSandboxResponse> ShutdownAsync(string id = "pod") =>
        Sandboxes.ShutdownSandboxAsync(new ShutdownSandboxRequest { SandboxId = id }).ResponseAsync.InTime();

    internal Task<SandboxStatusResponse> StatusAsync(string id = "pod", bool verbose = false) =>
        Sandboxes.SandboxStatusAsync(new SandboxStatusRequest { SandboxId = id, Verbose = verbose }).ResponseAsync.InTime();

    internal async Task<string> StateAsync(string id = "pod") => (await StatusAsync(id)).State;

    internal string MakeBundle(string id, string config = "", string? sandbox = null)
    {
        var bundle = Directory.CreateDirectory(PathOf("bundles/" + id)).FullName;
        if (config.Length > 0)
        {
            File.WriteAllText(Path.Combine(bundle, "config.json"), config);
        }
        if (sandbox is not null)
        {
            File.WriteAllText(Path.Combine(bundle, "sandbox"), sandbox);
        }
        return bundle;
    }

    /// <summary>A container of the sandbox, which its bundle's file names, as of containerd 2.</summary>
    internal async Task<TestContainer> CreateTaskAsync(string id, string sandbox = "pod")
    {
        var container = new TestContainer();
        Sandboxer.OnCreateContainer = _ => container;
        await Tasks.CreateAsync(new CreateTaskRequest { Id = id, Bundle = MakeBundle(id, """{"ociVersion":"1.0.2"}""", sandbox) }).ResponseAsync.InTime();
        return container;
    }

    internal async Task<TestContainer> RunTaskAsync(string id, string sandbox = "pod")
    {
        var container = await CreateTaskAsync(id, sandbox);
        await Tasks.StartAsync(new StartRequest { Id = id }).ResponseAsync.InTime();
        return container;
    }

    internal Task<WaitResponse> WaitTaskAsync(string id) => Tasks.WaitAsync(new WaitRequest { Id = id }).ResponseAsync.InTime();

    internal async Task<Status> TaskStateAsync(string id) => (await Tasks.StateAsync(new StateRequest { Id = id }).ResponseAsync.InTime()).Status;

    internal static async Task<RpcException> Fails(StatusCode code, Func<SystemTask> call)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => call().InTime());
        Assert.Equal(code, error.StatusCode);
        return error;
    }

    /// <summary>Nothing of the id is left, and it can be had again.</summary>
    internal async SystemTask AssertGoneAsync(string id = "pod")
    {
        await Fails(StatusCode.NotFound, () => StatusAsync(id));
        Assert.False(Directory.Exists(FolderOf(id)));
        Sandboxer.OnCreate = _ => SystemTask.CompletedTask;
        Sandboxer.OnStart = (_, _) => SystemTask.CompletedTask;
        Sandboxer.OnStop = (_, _) => SystemTask.CompletedTask;
        Sandboxer.OnDisposeAsync = () => SystemTask.CompletedTask;
        await RunAsync(id);
        Assert.Equal("SANDBOX_READY", await StateAsync(id));
        await ShutdownAsync(id);
    }

    public async ValueTask DisposeAsync()
    {
        // None where its sandboxer was another process.
        if (_host is not null)
        {
            await EndAsync();
        }
        await Containerd.DisposeAsync();
        foreach (var point in Linux.MountTable.Below(_folder))
        {
            Linux.Libc.UnmountAll(point);
        }
        Directory.Delete(_folder, recursive: true);
    }
}
