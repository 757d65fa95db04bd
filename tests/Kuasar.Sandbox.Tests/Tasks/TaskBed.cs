using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Domain;
using CreateTaskRequest = Kuasar.Protocol.Contracts.TaskV3.CreateTaskRequest;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Sandbox.Events;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Sandbox.Tests.Tasks;

/// <summary>The tasks of one containerd, with a test's sandboxer below them and a containerd that takes the events.</summary>
internal sealed class TaskBed : IAsyncDisposable
{
    private readonly EventPublisher _publisher;

    internal TaskBed()
    {
        Containerd = new FakeContainerd(Bed.PathOf("containerd.sock"));
        Containerd.Start();
        _publisher = new EventPublisher(Containerd.Socket, TimeProvider.System, NullLogger.Instance);
        var paths = new DomainPaths(Bed.PathOf("run"));
        Context = new TaskContext(
            "instance", "/run/containerd.sock", paths, new TaskEvents(_publisher), Bed.Stdio,
            Managers.Make(paths, Sandboxer, Bed.Processes, Bed.Time), Bed.Time, NullLogger.Instance);
    }

    internal Bed Bed { get; } = new();

    internal FakeContainerd Containerd { get; }

    internal TestSandboxer Sandboxer { get; } = new();

    internal TaskContext Context { get; }

    internal static Any ExecSpec => new() { TypeUrl = "types.containerd.io/opencontainers/runtime-spec/1/Process", Value = ByteString.CopyFromUtf8("""{"args":["true"]}""") };

    internal static StdioAddresses NoStdio => new("", "", "", false);

    internal string FolderOf(string id) => Context.Paths.TaskFolder(Context.ContainerdAddress, "ns", id);

    internal Task<ContainerTask> CreateAsync(TestContainer container, string id = "one", string config = """{"ociVersion":"1.0.2"}""")
    {
        var bundle = Bed.PathOf("bundle-" + id);
        Directory.CreateDirectory(bundle);
        File.WriteAllText(Path.Combine(bundle, "config.json"), config);
        Sandboxer.OnCreateContainer = _ => container;
        return TaskCreator.CreateAsync(Context, new TaskKey("instance", "ns", id), new CreateTaskRequest { Id = id, Bundle = bundle }).InTime();
    }

    internal async Task<ContainerTask> StartAsync(TestContainer container)
    {
        var task = await CreateAsync(container);
        await task.StartAsync("").InTime();
        Assert.Equal("create start", await Containerd.NextTopicsAsync(2));
        return task;
    }

    internal async Task<ContainerTask> ExitAsync(TestContainer container, uint code = 0)
    {
        var task = await StartAsync(container);
        container.Exit(code);
        await task.Watched.InTime();
        Assert.Equal("exit", await Containerd.NextTopicsAsync(1));
        return task;
    }

    internal async Task<TestExec> ExecAsync(TestContainer container, ContainerTask task, string id)
    {
        task.AddExec(id, ExecSpec, NoStdio);
        await task.StartAsync(id).InTime();
        Assert.Equal("exec-added exec-started", await Containerd.NextTopicsAsync(2));
        return container.Execs[^1];
    }

    internal async Task<TaskExit> NextExitAsync()
    {
        var envelope = await Containerd.NextAsync();
        Assert.Equal("/tasks/exit", envelope.Topic);
        return TaskExit.Parser.ParseFrom(envelope.Event.Value);
    }

    /// <summary>Everything that was published has come.</summary>
    internal async Task AssertNoMoreEventsAsync()
    {
        Context.Events.OutOfMemory(new TaskKey("instance", "ns", "mark"));
        Assert.Equal("oom", await Containerd.NextTopicsAsync(1));
    }

    public async ValueTask DisposeAsync()
    {
        await _publisher.DisposeAsync();
        await Containerd.DisposeAsync();
        Bed.Dispose();
    }
}
