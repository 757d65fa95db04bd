using System.Runtime.InteropServices;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Hosting;
using Kuasar.Sandbox.Keeper;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Recovery;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <summary>
/// Runs a sandboxer as the resident server of its domain. This is where the parts are put together, by hand, so that the whole can be
/// read in one place; who owns sockets, children and fds is decided here.
/// </summary>
public sealed partial class SandboxerHost : IAsyncDisposable
{
    private static readonly TimeSpan LockLimit = TimeSpan.FromSeconds(2);

    /// <summary>How long handles are kept of which nothing is known yet.</summary>
    private static readonly TimeSpan UnclaimedLimit = TimeSpan.FromSeconds(10);

    private readonly DomainPaths _paths;
    private readonly SandboxerOptions _options;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _logger;
    private readonly EventLoop _loop;
    private readonly ChildReaper _reaper;
    private readonly KeeperSession? _keeper;
    private readonly HandleStore? _handles;
    private readonly ITransports _transports;
    private readonly Leftovers _leftovers;
    private readonly SandboxManager _sandboxes;
    private readonly Endpoints _endpoints;
    private readonly TtrpcServer _control;
    private readonly SandboxerRecovery _recovery;
    private readonly string _consoleDirectory;
    private readonly IdleTrimmer? _trimmer;
    private SafeFileHandle? _lock;
    private IConnectionSource? _controlSource;
    private readonly List<IAsyncDisposable> _routes = [];
    private readonly CancellationTokenSource _stopping = new();
    private Task _background = Task.CompletedTask;
    private int _disposed;

    /// <summary>Puts a host together; nothing listens before <see cref="StartAsync"/>.</summary>
    /// <exception cref="ArgumentException">The options are wrong; the message says which.</exception>
    public SandboxerHost(Sandboxer sandboxer, SandboxerOptions options)
    {
        ArgumentNullException.ThrowIfNull(sandboxer);
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _paths = options.Validate();
        var loggers = _loggers = options.LoggerFactory ?? new StderrLoggerFactory(options.LogLevel);
        var time = options.TimeProvider;
        _logger = loggers.CreateLogger("Kuasar.Sandbox");

        _loop = new EventLoop(_logger);
        // A keeper's or our own: nothing below knows which.
        _keeper = KeeperSession.TryOpen(_loop, time, _logger, options.Version);
        _reaper = new ChildReaper(_loop, time, _logger, _keeper);
        _handles = _keeper is null ? new HandleStore() : null;
        _transports = (ITransports?)_keeper?.Transports ?? new UnixTransports(loggers);
        var processes = new HostProcesses(_reaper);
        sandboxer.Services = new SandboxerServices(processes, loggers, time, _paths.Run, _keeper is null ? null : _keeper.Handles.Hold);

        var registry = new TaskRegistry();
        _consoleDirectory = Path.Combine(_paths.Run, "c");
        var stdio = new StdioEnvironment(_loop, (IHandleStore?)_handles ?? _keeper!.Handles, processes, time, _consoleDirectory);
        _leftovers = new Leftovers(_paths, processes, registry, time, _logger);
        var sandboxLeftovers = new SandboxLeftovers(_paths, registry, _leftovers, _logger);
        _sandboxes = new SandboxManager(_paths, sandboxer, registry, sandboxLeftovers, time, loggers.CreateLogger("Kuasar.Sandbox.Sandboxes"));
        _recovery = new SandboxerRecovery(_paths, _sandboxes, sandboxLeftovers, registry, _leftovers, processes, time, _logger);
        _endpoints = new Endpoints(_paths, _sandboxes, registry, _leftovers, stdio, _transports, loggers, time, options.Version);
        _control = new TtrpcServer(new TtrpcServerOptions { LoggerFactory = loggers, TimeProvider = time, ErrorMapper = SandboxException.ToStatus });
        Protocol.Contracts.Control.Control.BindService(
            _control.Services,
            new ControlService(_paths, sandboxer, _endpoints, new ContainerdVersions(processes, time), registry, _sandboxes, _leftovers, time));
        _trimmer = options.TrimMemoryWhenIdle ? new IdleTrimmer(time) : null;
    }

    /// <summary>Begins to serve; shims can connect when this returns.</summary>
    /// <exception cref="SandboxException">AlreadyExists: another sandboxer serves this run directory.</exception>
    public async Task StartAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_keeper is not null)
        {
            await _keeper.Turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        Libc.CreateFolders(_paths.Run, DomainPaths.FolderMode);
        _lock = Libc.Open(Path.Combine(_paths.Run, "lock"), Libc.O_RDWR | Libc.O_CREAT, DomainPaths.FileMode);
        await TakeLockAsync(_lock).ConfigureAwait(false);
        ConsoleSocket.RemoveAll(_consoleDirectory);
        await _recovery.BeginAsync().ConfigureAwait(false);
        var contexts = _endpoints.Reopen();
        _controlSource = _transports.Listen(_paths.ControlSocket);
        _background = Task.WhenAll(_control.ServeAsync(_controlSource, CancellationToken.None), RecoverAsync(contexts));
        var context = new SandboxerRouteContext(
            (grpc, ttrpc) => new ControllerService(new ContainerdInstance { GrpcAddress = grpc, TtrpcAddress = ttrpc }, _endpoints),
            _transports.ListenRaw,
            _loggers);
        foreach (var route in _options.Routes)
        {
            _routes.Add(await route.StartAsync(context, cancellationToken).ConfigureAwait(false));
        }
        _keeper?.Ready();
        Serving(_logger, _options.Name, _options.Version, _paths.ControlSocket);
    }

    /// <remarks>
    /// With some patience: a process that was being started when the last sandboxer was killed holds the lock with it, until it has become
    /// another program.
    /// </remarks>
    private async Task TakeLockAsync(SafeFileHandle file)
    {
        var begin = _options.TimeProvider.GetTimestamp();
        while (!Libc.TryLock(file))
        {
            if (_options.TimeProvider.GetElapsedTime(begin) > LockLimit)
            {
                throw new SandboxException(SandboxError.AlreadyExists, $"another sandboxer serves {_paths.Run}");
            }
            await Task.Delay(TimeSpan.FromMilliseconds(20), _options.TimeProvider).ConfigureAwait(false);
        }
    }

    // A sandbox's tasks before itself.
    private async Task RecoverAsync(Dictionary<string, TaskContext> contexts)
    {
        await _recovery.FinishAsync(contexts).ConfigureAwait(false);
        await _leftovers.FinishAbandonedAsync().ConfigureAwait(false);
        await _sandboxes.FinishAbandonedAsync().ConfigureAwait(false);
        if (_keeper is not null)
        {
            // Whoever had asked for what has just been undone asks again: what was kept for that is wanted then.
            await Task.Delay(UnclaimedLimit, _options.TimeProvider, _stopping.Token).ConfigureAwait(false);
            _keeper.Handles.ForgetUnclaimed();
        }
    }

    /// <summary>Serves until SIGTERM or SIGINT. Containers are left as they are.</summary>
    public async Task RunAsync(CancellationToken cancellationToken = default)
    {
        var stop = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var cancelled = cancellationToken.Register(() => stop.TrySetResult());
        await StartAsync(cancellationToken).ConfigureAwait(false);
        await Task.WhenAny(stop.Task, _keeper?.StopAsked ?? stop.Task).ConfigureAwait(false);
        await DisposeAsync().ConfigureAwait(false);

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.TrySetResult();
        }
    }

    /// <summary>Stops serving and lets go of everything; containers are left as they are. Safe to repeat.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }
        await _stopping.CancelAsync().ConfigureAwait(false);
        _keeper?.Leaving();
        if (_controlSource is { } source)
        {
            await source.DisposeAsync().ConfigureAwait(false);
        }
        await _control.DisposeAsync().ConfigureAwait(false);
        foreach (var route in _routes)
        {
            await route.DisposeAsync().ConfigureAwait(false);
        }
        await _endpoints.DisposeAsync().ConfigureAwait(false);
        await _background.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stopping.Dispose();
        _trimmer?.Dispose();
        _reaper.Dispose();
        _keeper?.Dispose();
        _loop.Dispose();
        _handles?.Dispose();
        _lock?.Dispose();
        if (_controlSource is not null)
        {
            Stopped(_logger, _options.Name);
        }
    }

    [LoggerMessage(EventId = 1, Level = LogLevel.Information, Message = "Sandboxer {Name} {Version} serves {Socket}")]
    private static partial void Serving(ILogger logger, string name, string version, string socket);

    [LoggerMessage(EventId = 2, Level = LogLevel.Information, Message = "Sandboxer {Name} has stopped")]
    private static partial void Stopped(ILogger logger, string name);
}
