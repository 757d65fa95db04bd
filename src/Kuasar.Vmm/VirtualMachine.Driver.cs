using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using Microsoft.Extensions.Logging;

namespace Kuasar.Vmm;

/// <content>What drivers build on: the record, the processes, and the end.</content>
public abstract partial class VirtualMachine
{
    internal const string HypervisorRole = "hypervisor", VsockRole = "vsock";

    /// <summary>A process that has been killed is gone by then, or in a state where nobody can do anything.</summary>
    private static readonly TimeSpan s_endLimit = TimeSpan.FromSeconds(5);

    /// <summary>A daemon may end because its hypervisor does; then that is the reason.</summary>
    private static readonly TimeSpan s_daemonPatience = TimeSpan.FromMilliseconds(200);

    private readonly Lock _lock = new();
    private readonly TaskCompletionSource<VmExit> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Dictionary<string, VmProcess> _processes = [];
    private readonly HashSet<string> _ending = [];
    private Task<VmExit>? _end;
    private bool _lettingGo;

    /// <summary>What is to be kept of it. Not to be changed by others; take a clone before you keep it for later.</summary>
    public VmRecord Record { get; }

    /// <summary>The pid of its hypervisor; 0 before the boot.</summary>
    public int ProcessId => Record.Processes.FirstOrDefault(process => process.Role == HypervisorRole)?.Process.Pid ?? 0;

    /// <summary>Its hypervisor's process.</summary>
    /// <exception cref="VmException">Ended.</exception>
    private protected VmProcess HypervisorProcess
    {
        get
        {
            lock (_lock)
            {
                return _processes.GetValueOrDefault(HypervisorRole) ?? throw new VmException(VmError.Ended, "the machine has ended, or is no more to be used");
            }
        }
    }

    private protected VmEnvironment Environment { get; }

    /// <summary>The guest has been asked to power off; a reset is then how some do it.</summary>
    private protected bool IsPoweringDown { get; private set; }

    private protected ILogger Logger { get; }

    /// <summary>The hybrid vsock's unix socket.</summary>
    private protected string VsockPath => Environment.PathOf("vsock");

    internal static VmRecord NewRecord(string hypervisor, VmConfig config, VmEnvironment environment)
    {
        var record = new VmRecord
        {
            Hypervisor = hypervisor,
            WorkDirectory = environment.WorkDirectory,
            State = VmRecord.Types.State.Created,
            ContextId = config.Vsock?.ContextId ?? 0,
            Vcpus = (uint)config.Vcpus,
            MaxVcpus = (uint)Math.Max(config.MaxVcpus, config.Vcpus),
            MemoryBytes = config.MemoryBytes,
            MaxMemoryBytes = Math.Max(config.MaxMemoryBytes, config.MemoryBytes),
            ConsoleLog = config.ConsoleLog ?? "",
        };
        record.Devices.AddRange(config.Disks.Cast<VmDevice>().Concat(config.Nets).Concat(config.FileSystems).Select(Describe));
        return record;
    }

    private protected abstract Task BootCoreAsync(CancellationToken cancellationToken);

    private protected virtual Task RestoreCoreAsync(string directory, CancellationToken cancellationToken) => throw Lacking("restore");

    private protected virtual Task PauseCoreAsync(CancellationToken cancellationToken) => throw Lacking("pause");

    private protected virtual Task ResumeCoreAsync(CancellationToken cancellationToken) => throw Lacking("resume");

    private protected virtual Task AddDeviceCoreAsync(VmDevice device, CancellationToken cancellationToken) => throw Lacking("hotplug");

    private protected virtual Task RemoveDeviceCoreAsync(VmDeviceRecord device, CancellationToken cancellationToken) => throw Lacking("hotplug");

    private protected virtual Task ResizeCoreAsync(int? vcpus, long? memoryBytes, CancellationToken cancellationToken) => throw Lacking("resize");

    private protected virtual Task SnapshotCoreAsync(string directory, CancellationToken cancellationToken) => throw Lacking("snapshot");

    /// <summary>Presses the power button; does not wait for the end.</summary>
    private protected abstract Task PowerDownCoreAsync(CancellationToken cancellationToken);

    /// <summary>Why the hypervisor has ended, with this status of its process (as a shell has it). May wait a moment for what it said last.</summary>
    private protected abstract ValueTask<VmExit> ExitOfAsync(int status);

    /// <summary>Closes what the driver holds open; called once, at the end or when the machine is let go of.</summary>
    private protected abstract ValueTask CloseAsync();

    private static VmException Lacking(string what) => new(VmError.Unsupported, $"this hypervisor has no {what}");

    /// <summary>Changes the record and has it saved.</summary>
    private protected void Note(Action<VmRecord> change)
    {
        lock (_lock)
        {
            change(Record);
            Environment.Save?.Invoke(Record);
        }
    }

    /// <summary>Starts a process of the machine, has it saved, and watches over it: its end is the machine's.</summary>
    private protected VmProcess StartProcess(string role, VmCommand command)
    {
        VmProcess process;
        lock (_lock)
        {
            if (_end is not null || _lettingGo)
            {
                throw new VmException(VmError.Ended, "the machine has ended meanwhile");
            }
            // Under the lock: who ends the machine ends this one too.
            process = Environment.Processes.Start(command);
            _processes.Add(role, process);
            Note(record => record.Processes.Add(new VmProcessRecord { Role = role, Process = ProcessIdentity.OfStarted(process.ProcessId) }));
        }
        _ = SuperviseAsync(role, process);
        return process;
    }

    /// <summary>Takes over all processes of the record, and watches over them.</summary>
    private protected void AdoptProcesses()
    {
        var processes = Record.Processes.Select(entry => (entry.Role, Process: Environment.Processes.Adopt(entry.Process))).ToArray();
        lock (_lock)
        {
            foreach (var (role, process) in processes)
            {
                _processes.Add(role, process);
            }
        }
        // Only now: one that has ended already ends all that are known.
        foreach (var (role, process) in processes)
        {
            _ = SuperviseAsync(role, process);
        }
    }

    /// <summary>
    /// From here on the end of a daemon is not the machine's: what it served is being unplugged, and it ends by itself. To be followed by
    /// <see cref="EndProcessAsync"/>, or by itself with false when it is needed after all.
    /// </summary>
    private protected void ExpectEnd(string role, bool expected = true)
    {
        VmProcess? process;
        lock (_lock)
        {
            _ = expected ? _ending.Add(role) : _ending.Remove(role);
            _processes.TryGetValue(role, out process);
        }
        if (!expected && process is not null)
        {
            // It may have ended meanwhile.
            _ = SuperviseAsync(role, process);
        }
    }

    /// <summary>Ends a daemon that is no longer needed.</summary>
    private protected async Task EndProcessAsync(string role)
    {
        VmProcess? process;
        lock (_lock)
        {
            _processes.Remove(role, out process);
            _ending.Remove(role);
        }
        if (process is not null)
        {
            await KillAsync(process).ConfigureAwait(false);
        }
        Libc.TryRemoveFile(VirtiofsSocket(role));
        Libc.TryRemoveFile(VirtiofsSocket(role) + ".pid");
        Note(record =>
        {
            // None when it could not be started, or has been ended before.
            if (record.Processes.FirstOrDefault(other => other.Role == role) is { } entry)
            {
                record.Processes.Remove(entry);
            }
        });
    }

    private bool IsOurs(string role, VmProcess process)
    {
        lock (_lock)
        {
            return !_lettingGo && !_ending.Contains(role) && _processes.TryGetValue(role, out var ours) && ours == process;
        }
    }

    private async Task SuperviseAsync(string role, VmProcess process)
    {
        var status = await process.Exited.ConfigureAwait(false);
        if (!IsOurs(role, process))
        {
            return;
        }
        if (role == HypervisorRole)
        {
            await EndAsync(await ExitOfAsync(status).ConfigureAwait(false)).ConfigureAwait(false);
            return;
        }
        await Task.Delay(s_daemonPatience, Environment.TimeProvider).ConfigureAwait(false);
        if (IsOurs(role, process))
        {
            var what = role == VsockRole ? "the vsock daemon" : $"the daemon of {role}";
            await EndAsync(new VmExit(VmExitReason.DaemonFailed, Environment.TimeProvider.GetUtcNow(), $"{what} ended with status {status}")).ConfigureAwait(false);
        }
    }

    /// <summary>The hypervisor can no longer do its work, though its process lives.</summary>
    private protected void Fail(string detail) => _ = EndAsync(new VmExit(VmExitReason.HypervisorFailed, Environment.TimeProvider.GetUtcNow(), detail));

    /// <summary>Ends all processes and removes the sockets. The first who calls it says why.</summary>
    /// <exception cref="ObjectDisposedException">It was let go of.</exception>
    private Task<VmExit> EndAsync(VmExit exit)
    {
        lock (_lock)
        {
            if (_end is null)
            {
                ObjectDisposedException.ThrowIf(_lettingGo, this);
                _state = VmState.Ended;
                // The hypervisor first: its daemons' ends are its errors.
                VmProcess[] processes = [.. _processes.OrderBy(pair => pair.Key == HypervisorRole ? 0 : 1).Select(pair => pair.Value)];
                _processes.Clear();
                _end = Task.Run(() => FinishAsync(exit, processes));
            }
            return _end;
        }
    }

    private async Task<VmExit> FinishAsync(VmExit exit, VmProcess[] processes)
    {
        foreach (var process in processes)
        {
            await KillAsync(process).ConfigureAwait(false);
        }
        await CloseAsync().ConfigureAwait(false);
        _dials.Open();
        if (Directory.Exists(Environment.WorkDirectory))
        {
            // virtiofsd leaves a pid file beside its socket.
            foreach (var file in Directory.EnumerateFiles(Environment.WorkDirectory).Where(
                file => Libc.SocketInode(file) != 0 || file.EndsWith(".pid", StringComparison.Ordinal)))
            {
                Libc.TryRemoveFile(file);
            }
        }
        Note(record => record.Processes.Clear());
        HasEnded(Logger, Environment.WorkDirectory, exit.Reason, exit.Detail);
        _exited.TrySetResult(exit);
        return exit;
    }

    private async Task KillAsync(VmProcess process)
    {
        process.Signal(Libc.SIGKILL);
        try
        {
            await process.Exited.WaitAsync(s_endLimit, Environment.TimeProvider).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            DoesNotEnd(Logger, process.ProcessId);
        }
        process.Dispose();
    }

    private async Task LetGoAsync()
    {
        VmProcess[] processes;
        lock (_lock)
        {
            _lettingGo = true;
            processes = [.. _processes.Values];
            _processes.Clear();
        }
        Array.ForEach(processes, process => process.Dispose());
        if (_state != VmState.Ended)
        {
            await CloseAsync().ConfigureAwait(false);
        }
    }

    [LoggerMessage(EventId = 701, Level = LogLevel.Information, Message = "The machine in {Folder} has ended: {Reason}, {Detail}")]
    private static partial void HasEnded(ILogger logger, string folder, VmExitReason reason, string detail);

    [LoggerMessage(EventId = 702, Level = LogLevel.Error, Message = "Process {Pid} was killed and does not end")]
    private static partial void DoesNotEnd(ILogger logger, int pid);
}
