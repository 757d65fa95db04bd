using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Events;
using Kuasar.Sandbox.Hosting;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tasks;
using TaskContract = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.Sandbox;

/// <summary>
/// containerd's Task service by itself, for an agent in a guest: no shims, no containerd, no keeper. Tasks have their standard streams as byte
/// streams (<c>containerd.services.streaming.v1</c>) whose ids their stdio strings name; fifos and files of the guest work too.
/// </summary>
/// <remarks>
/// It reaps every orphan of this process, which should be pid 1 or else becomes a subreaper. One in a process.
/// </remarks>
public sealed class TaskServer : IAsyncDisposable
{
    /// <summary>There is but one that asks; records and folders are named by it.</summary>
    private const string Host = "host";

    /// <summary>Bytes for one connection that wait to be sent.</summary>
    private const int OutputUnderWay = 128 * 1024;

    private readonly EventLoop _loop;
    private readonly ChildReaper _reaper;
    private readonly HandleStore _handles = new();
    private readonly EventQueue _events;
    private readonly TaskRegistry _registry = new();
    private int _disposed;

    /// <summary>Puts a server together; nothing is served before <see cref="Server"/> is given a connection.</summary>
    /// <exception cref="ArgumentException">The options are wrong; the message says which.</exception>
    public TaskServer(Sandboxer sandboxer, TaskServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(sandboxer);
        ArgumentNullException.ThrowIfNull(options);
        var paths = options.Validate();
        Libc.CreateFolders(paths.Run, DomainPaths.FolderMode);
        var loggers = options.LoggerFactory ?? new StderrLoggerFactory(options.LogLevel);
        var time = options.TimeProvider;
        var logger = loggers.CreateLogger("Kuasar.Sandbox");

        _loop = new EventLoop(logger);
        _reaper = new ChildReaper(_loop, time, logger);
        _events = new EventQueue(time);
        var processes = new HostProcesses(_reaper);
        sandboxer.Services = Services = new SandboxerServices(processes, loggers, time, paths.Run);
        var streams = new StreamTable(_loop);
        var stdio = new StdioEnvironment(_loop, _handles, processes, time, Path.Combine(paths.Run, "c")) { Streams = streams };
        var leftovers = new Leftovers(paths, processes, _registry, time, logger);
        var sandboxes = new SandboxManager(
            paths, sandboxer, _registry, new SandboxLeftovers(paths, _registry, leftovers, logger), time, loggers.CreateLogger("Kuasar.Sandbox.Sandboxes"));
        var context = new TaskContext(
            DomainPaths.InstanceKey(Host), Host, paths, new TaskEvents(_events), stdio, sandboxes, time, loggers.CreateLogger("Kuasar.Sandbox.Tasks"));
        var service = new TaskService(context, options.Namespace, _registry, leftovers, options.Version) { ShutdownAsked = options.ShutdownAsked };
        Server = new TtrpcServer(new TtrpcServerOptions
        {
            LoggerFactory = loggers,
            TimeProvider = time,
            ErrorMapper = SandboxException.ToStatus,
            // A client that does not read holds a process's output back, for as long as it likes; what is under way to it is lost with it.
            IdleWriteTimeout = Timeout.InfiniteTimeSpan,
            WriteBufferLimit = OutputUnderWay,
        });
        TaskContract.BindService(Server.Services, service);
        TaskContract.BindService(Server.ServicesAs("containerd.task.v2.Task"), service);
        Streaming.BindService(Server.Services, new StreamingService(streams, time));
    }

    /// <summary>
    /// Has <c>containerd.task.v2.Task</c>, <c>containerd.task.v3.Task</c> and <c>containerd.services.streaming.v1.Streaming</c>. Bind what else is
    /// to be served, and give it connections; it goes with this.
    /// </summary>
    public TtrpcServer Server { get; }

    /// <summary>What the sandboxer has been given.</summary>
    public SandboxerServices Services { get; }

    /// <summary>
    /// Waits for the next thing that the host cannot see by its own calls, and takes it: <c>/tasks/oom</c>. Any number may wait, each gets events of
    /// its own; at most 1024 are kept, the latest.
    /// </summary>
    /// <exception cref="OperationCanceledException">The token was cancelled; no event is lost by that.</exception>
    public ValueTask<Envelope> NextEventAsync(CancellationToken cancellationToken) => _events.NextAsync(cancellationToken);

    /// <summary>Ends every task by SIGKILL and removes what they held; for a machine that goes down.</summary>
    /// <param name="limit">How long all of it may take.</param>
    public async Task EndTasksAsync(TimeSpan limit)
    {
        var time = Services.TimeProvider;
        await Task.WhenAll(_registry.Tasks.Select(task => CleanUp.TryAsync(() => task.DeleteAsync(force: true)))).EndsWithinAsync(limit, time).ConfigureAwait(false);
    }

    /// <summary>Stops serving and lets go of everything; containers are left as they are. Safe to repeat.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }
        await Server.DisposeAsync().ConfigureAwait(false);
        _reaper.Dispose();
        _loop.Dispose();
        _handles.Dispose();
    }
}
