using System.Runtime.InteropServices;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>
/// The process that a service manager starts and that containerd's connections end in: it owns what must not be lost while a sandboxer dies
/// or is replaced, and decides nothing that a sandboxer can decide. One thread does all of it, the loop's; another waits for dead children,
/// and the main thread for the end. See docs/designs/0002-keeper.md.
/// </summary>
internal sealed partial class KeeperProcess : IDisposable
{
    private readonly DomainPaths _paths;
    private readonly ILogger _logger;
    private readonly EventLoop _loop;
    private readonly KeeperTimers _timers;
    private readonly RelayContext _context;
    private readonly SortedDictionary<string, KeeperListener> _listeners = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, SafeFileHandle> _handles = new(StringComparer.Ordinal);
    private readonly ExitTable _exits = new();
    private readonly List<ExitQuestion> _exitQuestions = [];
    private readonly PacketWriter _writer = new();
    private readonly SafeFileHandle _wake = Libc.EventFd();
    private readonly TaskCompletionSource<int> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly string[] _arguments;
    private readonly string[] _environment;
    private SafeFileHandle? _lock;
    private volatile bool _stopAsked;
    private volatile int _deadChild;
    private readonly SemaphoreSlim _reaped = new(0);

    internal KeeperProcess(DomainPaths paths, ILogger logger)
    {
        _paths = paths;
        _logger = logger;
        _loop = new EventLoop(logger);
        _timers = new KeeperTimers(_loop);
        _context = new RelayContext(_loop, _timers);
        _arguments = KeeperEnvironment.Arguments();
        _environment = KeeperEnvironment.Variables();
    }

    /// <summary>Keeps until SIGTERM or SIGINT; blocks. The exit code: that of a sandboxer that could not even start, else 0.</summary>
    /// <exception cref="SandboxException">AlreadyExists: another keeper has this run directory.</exception>
    /// <param name="state">Of the keeper whose place this one takes; null for the first.</param>
    /// <param name="cancellationToken">Ends it as SIGTERM does.</param>
    internal int Run(byte[]? state, CancellationToken cancellationToken)
    {
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var cancelled = cancellationToken.UnsafeRegister(_ => AskToStop(), null);
        Libc.RaiseFileLimit();
        Libc.BecomeSubreaper();
        Libc.CloseAllOnExec();
        if (state is null)
        {
            Begin();
        }
        // From here on everything happens on the loop's thread. Nothing else is heard before it has begun.
        _timers.After(TimeSpan.Zero, () =>
        {
            if (state is null)
            {
                OpenService();
                StartSandboxer(_binary!);
            }
            else
            {
                Restore(state);
            }
            _loop.Register(_wake, EventLoop.In, _ => OnWake());
            new Thread(WaitForChildren, 64 * 1024) { IsBackground = true, Name = "kuasar-reaper" }.Start();
        });
        return _ended.Task.GetAwaiter().GetResult();
    }

    private void Begin()
    {
        Libc.CreateFolders(_paths.Run, DomainPaths.FolderMode);
        _lock = Libc.Open(_paths.KeeperLock, Libc.O_RDWR | Libc.O_CREAT, DomainPaths.FileMode);
        if (!Libc.TryLock(_lock))
        {
            throw new SandboxException(SandboxError.AlreadyExists, $"another keeper has {_paths.Run}");
        }
        _binary = KeeperBinary.OfThisProcess();
        _operators = new OperatorSocket(_loop, Libc.ListenUnix(_paths.KeeperSocket, DomainPaths.FileMode, 16), OnOperator);
    }

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        AskToStop();
    }

    private void AskToStop()
    {
        _stopAsked = true;
        Wake();
    }

    private void Wake() => Libc.Write(_wake, BitConverter.GetBytes(1UL));

    // waitid waits without a signal handler; the loop reaps, so that all tables have one owner.
    private void WaitForChildren()
    {
        while (true)
        {
            var pid = Libc.WaitForDeadChild();
            if (pid == 0)
            {
                Thread.Sleep(20); // no sandboxer at this moment, and no orphan
                continue;
            }
            _deadChild = pid;
            Wake();
            _reaped.Wait();
        }
    }

    private void OnWake()
    {
        Span<byte> count = stackalloc byte[8];
        Libc.Read(_wake, count);
        if (_deadChild != 0)
        {
            _deadChild = 0;
            Reap();
            _reaped.Release();
        }
        if (_stopAsked && !_stopping)
        {
            Stop();
        }
    }

    private void Reap()
    {
        List<int>? own = null;
        _exits.ReapAll(pid =>
        {
            if (pid == _active?.ProcessId || pid == _standby?.ProcessId || pid == _checker)
            {
                (own ??= []).Add(pid);
            }
        });
        AnswerExitQuestions();
        foreach (var pid in own ?? [])
        {
            var status = _exits.Find(pid, 0)?.Status ?? 0;
            _exits.Release(pid, 0);
            if (pid == _checker)
            {
                _checker = 0;
                _checked?.Invoke(status);
            }
            else
            {
                OnSandboxerDied(pid, status);
            }
        }
    }

    private void End(int code)
    {
        _operators?.Dispose();
        Libc.TryRemoveFile(_paths.KeeperSocket);
        foreach (var listener in _listeners.Values)
        {
            _service?.Remove(NameOf(listener));
            listener.Dispose();
        }
        _ended.TrySetResult(code);
    }

    public void Dispose()
    {
        _loop.Dispose();
        _timers.Dispose();
        foreach (var handle in _handles.Values)
        {
            handle.Dispose();
        }
        _binary?.Dispose();
        _service?.Dispose();
        _wake.Dispose();
        _lock?.Dispose();
        _reaped.Dispose();
    }
}
